import { forJobs, forKeys, ID, inlineParameter, jobIdParameter, type Operation, type Refusals } from "../operation.ts";

const forResults: Refusals = {
  404: { file_not_found: "The result was removed" },
  400: {
    job_not_completed: "The job has not ended; `status` says how it is",
    job_cancelled: "It was cancelled",
    job_timed_out: "It timed out",
  },
};

export const resultOperations: Operation[] = [
  {
    method: "get",
    path: "/result/{id}",
    operationId: "readResult",
    tag: "Jobs",
    summary: "What came of a job",
    parameters: [
      jobIdParameter,
      { name: "redirect", in: "query", description: "Leads to the file", schema: { type: "boolean" } },
      inlineParameter,
    ],
    answers: {
      200: {
        description: "The result, or why there is none",
        schema: "Result",
        example: { id: ID, status: "success", result_url: "https://example.com/files/speech.mp3" },
      },
      302: {
        description: "With `redirect`, when the result is a file",
        headers: { Location: { description: "The file" } },
      },
    },
    refusals: [forKeys, forJobs, forResults],
  },
  {
    method: "get",
    path: "/jobs/{id}/result",
    operationId: "readLipsyncResult",
    tag: "Jobs",
    summary: "What came of a lip-sync job",
    parameters: [jobIdParameter, inlineParameter],
    answers: {
      200: {
        description: "The result, or why there is none",
        schema: "LipsyncResult",
        example: { output_path: "results/clip.mp4", result_url: "https://example.com/files/clip.mp4" },
      },
    },
    refusals: [forKeys, forJobs, forResults],
  },
];
