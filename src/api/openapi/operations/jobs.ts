import { listSchema } from "../../jobs/listJobs.ts";
import {
  type Answer,
  forBodies,
  forChanges,
  forJobs,
  forKeys,
  forTemporal,
  ID,
  inlineParameter,
  jobIdParameter,
  type Operation,
} from "../operation.ts";

const marked: Record<number, Answer> = {
  200: {
    component: "Marked",
    description: "It shows this state, or the one that it had",
    schema: "Marked",
    example: { message: `Job ${ID} marked as cancelled` },
  },
  202: {
    component: "MarkedLater",
    description: "It will, when a worker acts on it",
    schema: "Marked",
    example: { message: `Job ${ID} will be marked as cancelled`, pending: true },
  },
};

export const jobOperations: Operation[] = [
  {
    method: "get",
    path: "/jobs",
    operationId: "listJobs",
    tag: "Jobs",
    summary: "All jobs, newest first",
    query: listSchema,
    answers: {
      200: {
        description: "A page of them, each with the first fields of its document",
        schema: "Jobs",
        example: {
          jobs: [
            {
              id: ID,
              type: "csm",
              tenant: "default",
              status: "running",
              stage: "rendering",
              created_at: "2026-11-21T10:00:00.000Z",
              complete_by: "2026-11-21T11:00:00.000Z",
              max_time: 1200,
            },
          ],
        },
      },
    },
    refusals: [
      forKeys,
      forTemporal,
      {
        400: { invalid_query: "`errors` has a sentence per parameter" },
        403: { admin_required: "Only an administrator may list the jobs of others" },
      },
    ],
  },
  {
    method: "get",
    path: "/status/{id}",
    operationId: "readStatus",
    tag: "Jobs",
    summary: "How a job is",
    parameters: [jobIdParameter],
    answers: {
      200: {
        description: "A status never goes back",
        schema: "Status",
        example: {
          id: ID,
          status: "queued",
          stage: "waiting",
          progress: null,
          position: 2,
          eta_seconds: 40,
          waiting_for: "gpu_busy",
        },
      },
    },
    refusals: [forKeys, forJobs],
  },
  {
    method: "get",
    path: "/jobs/{id}",
    operationId: "readJob",
    tag: "Jobs",
    summary: "Everything that is known of a job",
    parameters: [jobIdParameter, inlineParameter],
    answers: {
      200: {
        description: "The job",
        schema: "Job",
        example: {
          id: ID,
          type: "csm",
          tenant: "default",
          status: "success",
          progress: null,
          created_at: "2026-11-21T10:00:00.000Z",
          started_at: "2026-11-21T10:00:02.000Z",
          finished_at: "2026-11-21T10:00:08.000Z",
          complete_by: "2026-11-21T11:00:00.000Z",
          max_time: 1200,
          attempts: 1,
          gpu: { id: "gpu-media:fast-1795254481", node: "node-7", type: "media:fast", seconds: 6 },
          cost: { gpu_seconds: { boot: 0, idle: 1.5, busy: 6, total: 7.5 }, amount: 0.001 },
          result: { result_url: "https://example.com/files/speech.mp3" },
          files: [
            { name: "speech.mp3", url: "https://example.com/files/speech.mp3", mime_type: "audio/mpeg", bytes: 51200 },
          ],
          timeline: [
            { id: 1, at: "2026-11-21T10:00:00.000Z", event: "accepted", status: "queued" },
            { id: 7, at: "2026-11-21T10:00:08.000Z", event: "success", status: "success" },
          ],
        },
      },
    },
    refusals: [forKeys, forJobs],
  },
  {
    method: "post",
    path: "/job/{id}",
    operationId: "markJob",
    tag: "Jobs",
    summary: "End a job",
    description:
      "A job that has already ended keeps its state, and the answer says so. With `remove_data` it is forgotten.",
    parameters: [jobIdParameter],
    body: {
      schema: "Mark",
      examples: {
        cancel: { status: "cancelled" },
        "give up": { status: "timed_out", error: "Nobody waits for it any more" },
      },
    },
    answers: marked,
    refusals: [forKeys, forJobs, forBodies, forChanges],
  },
  {
    method: "delete",
    path: "/jobs/{id}",
    operationId: "removeJob",
    tag: "Jobs",
    summary: "Cancel a job and forget it",
    description: "From the answer on there is no such job. Its files and its record are removed when its GPU is free.",
    parameters: [jobIdParameter],
    answers: marked,
    refusals: [forKeys, forJobs, forChanges],
  },
  {
    method: "get",
    path: "/jobs/{id}/events",
    operationId: "readEvents",
    tag: "Jobs",
    summary: "How a job goes, as it happens",
    description:
      "Server-Sent Events: `status` for each entry of the timeline, with its `id`; `progress`, 0–1; `end`, after which " +
      "the stream closes.",
    parameters: [
      jobIdParameter,
      {
        name: "Last-Event-ID",
        in: "header",
        description: "Goes on after this event; an `EventSource` sends it by itself",
        schema: { type: "string" },
      },
    ],
    answers: {
      200: {
        description: "The events",
        mediaType: "text/event-stream",
        example: `event: status\nid: 1\ndata: {"id":"${ID}","status":"queued","at":"2026-11-21T10:00:00.000Z","event":"accepted"}\n\n`,
      },
      204: { description: "After `end` there is nothing more to come" },
    },
    refusals: [forKeys, forJobs],
  },
];
