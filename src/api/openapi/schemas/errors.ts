import { z } from "zod";
import { jobState } from "./common.ts";

/** Every answer that is not a success. */
export const errorSchema = z.object({
  error: z.string().describe("A sentence for people"),
  code: z.string().describe("What programs read"),
  request_id: z.string().describe("As in `X-Request-Id`; the log has it, too"),
  errors: z.record(z.string(), z.string()).optional().describe("Of a bad body: a sentence per field"),
});

export const notCompletedSchema = errorSchema.extend({
  status: jobState.optional().describe("How the job is, when it has no result to give"),
});

export const notReadySchema = errorSchema.extend({
  missing: z.array(z.string()).optional().describe("What is missing, each a sentence"),
});
