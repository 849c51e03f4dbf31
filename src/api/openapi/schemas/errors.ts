import { z } from "zod";
import { jobId, jobState, metadata } from "./common.ts";
import { providerSchema } from "./service.ts";

/** Every answer that is not a success. */
export const errorSchema = z.object({
  error: z.string().describe("A sentence for people"),
  code: z.string().describe("What programs read"),
  request_id: z.string().describe("As in `X-Request-Id`; the log has it, too"),
  errors: z.record(z.string(), z.string()).optional().describe("Of a bad body: a sentence per field"),
  job_id: jobId.optional().describe("The job that may have been started, or changed"),
  status: jobState.optional().describe("How a job is that has no result to give"),
  id: jobId.optional().describe("Of a job that was cancelled or timed out"),
  metadata: metadata.optional().describe("Likewise: what its caller gave it"),
  provider: providerSchema.optional(),
  missing: z.array(z.string()).optional().describe("What keeps the service from being ready, each a sentence"),
});
