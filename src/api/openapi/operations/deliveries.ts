import {
  forAdmins,
  forBodies,
  forChanges,
  forJobs,
  forKeys,
  forTemporal,
  ID,
  jobIdParameter,
  type Operation,
} from "../operation.ts";

export const deliveryOperations: Operation[] = [
  {
    method: "get",
    path: "/jobs/{id}/deliveries",
    operationId: "listDeliveries",
    tag: "Jobs",
    summary: "What became of a job's webhook",
    parameters: [jobIdParameter],
    answers: {
      200: {
        description: "Every attempt, the first one first",
        schema: "Deliveries",
        example: {
          id: ID,
          url: "https://example.com/hook",
          deliveries: [
            { time: "2026-11-21T10:01:21.000Z", delivered: false, code: 503, ms: 41 },
            { time: "2026-11-21T10:01:26.000Z", delivered: true, code: 200, ms: 38 },
          ],
        },
      },
    },
    refusals: [forKeys, forJobs],
  },
  {
    method: "post",
    path: "/jobs/{id}/deliveries",
    operationId: "redeliver",
    tag: "Jobs",
    summary: "Send a job's webhook again",
    parameters: [jobIdParameter],
    answers: {
      202: {
        description: "It is sent",
        schema: "Redelivered",
        example: { message: `The webhook of job ${ID} is sent again` },
      },
    },
    refusals: [
      forKeys,
      forJobs,
      forChanges,
      { 404: { no_webhook: "The job has no webhook" }, 409: { job_running: "The job has not ended" } },
    ],
  },
  {
    method: "post",
    path: "/deliveries",
    operationId: "replayDeliveries",
    tag: "Operations",
    summary: "Send all webhooks again that failed since a time",
    body: { schema: "Replay", examples: { "since a time": { since: "2026-11-21T10:00:00Z" } } },
    answers: { 202: { description: "They are sent, one after the other", schema: "Replayed", example: { count: 12 } } },
    refusals: [
      forAdmins,
      forTemporal,
      forBodies,
      forChanges,
      { 409: { replay_running: "The last request is still worked on" } },
    ],
  },
];
