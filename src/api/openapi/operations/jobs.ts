import { forBodies, forJobs, forKeys, ID, jobIdParameter, type Operation, type Refusals } from "../operation.ts";

const forResults: Refusals = {
  400: {
    job_not_completed: "The job has not ended; `status` says how it is",
    job_cancelled: "It was cancelled",
    job_timed_out: "It timed out",
  },
};

export const jobOperations: Operation[] = [
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
    path: "/result/{id}",
    operationId: "readResult",
    tag: "Jobs",
    summary: "What came of a job",
    parameters: [
      jobIdParameter,
      { name: "redirect", in: "query", description: "`1`: leads to the file", schema: { type: "string", enum: ["1"] } },
    ],
    answers: {
      200: {
        description: "The result, or why there is none",
        schema: "Result",
        example: { id: ID, status: "success", result_url: "https://example.com/files/speech.mp3" },
      },
      302: {
        description: "With `redirect=1`, when the result is a file",
        headers: { Location: { description: "The file" } },
      },
    },
    refusals: [forKeys, forJobs, forResults],
  },
  {
    method: "get",
    path: "/jobs/{id}",
    operationId: "readJob",
    tag: "Jobs",
    summary: "Everything that is known of a job",
    parameters: [jobIdParameter],
    answers: {
      200: {
        description: "The job",
        schema: "Job",
        example: {
          id: ID,
          type: "csm",
          status: "success",
          progress: null,
          created_at: "2026-11-21T10:00:00.000Z",
          started_at: "2026-11-21T10:00:02.000Z",
          finished_at: "2026-11-21T10:00:08.000Z",
          complete_by: "2026-11-21T11:00:00.000Z",
          max_time: 1200,
          attempts: 1,
          gpu: { id: "gpu-media:fast-1795254481", node: "node-7", type: "media:fast" },
          cost: { gpu_seconds: { boot: 0, idle: 1.5, busy: 6, total: 7.5 }, amount: 0.001 },
          result: { result_url: "https://example.com/files/speech.mp3" },
          files: [
            { name: "speech.mp3", url: "https://example.com/files/speech.mp3", mime_type: "audio/mpeg", bytes: 51200 },
          ],
          timeline: [
            { at: "2026-11-21T10:00:00.000Z", event: "accepted" },
            { at: "2026-11-21T10:00:08.000Z", event: "success" },
          ],
        },
      },
    },
    refusals: [forKeys, forJobs],
  },
  {
    method: "get",
    path: "/jobs/{id}/result",
    operationId: "readLipsyncResult",
    tag: "Jobs",
    summary: "What came of a lip-sync job",
    parameters: [jobIdParameter],
    answers: {
      200: {
        description: "The result, or why there is none",
        schema: "LipsyncResult",
        example: { output_path: "results/clip.mp4", result_url: "https://example.com/files/clip.mp4" },
      },
    },
    refusals: [forKeys, forJobs, forResults],
  },
  {
    method: "post",
    path: "/job/{id}",
    operationId: "markJob",
    tag: "Jobs",
    summary: "End a job",
    description: "A job that has already ended keeps its state, and the answer says so.",
    parameters: [jobIdParameter],
    body: {
      schema: "Mark",
      examples: {
        cancel: { status: "cancelled" },
        "give up": { status: "timed_out", error: "Nobody waits for it any more" },
      },
    },
    answers: {
      200: {
        description: "It shows this state",
        schema: "Marked",
        example: { message: `Job ${ID} marked as cancelled` },
      },
      202: {
        description: "It will, when a worker acts on it",
        schema: "Marked",
        example: { message: `Job ${ID} will be marked as cancelled`, pending: true },
      },
    },
    refusals: [forKeys, forJobs, forBodies],
  },
];
