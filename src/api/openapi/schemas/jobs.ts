import { z } from "zod";
import { waitingReasons } from "../../../gpus/types.ts";
import { jobTypes } from "../../../jobs/job.ts";
import { jobStages } from "../../../jobs/states.ts";
import { jobId, jobState, link, metadata, time } from "./common.ts";

export const submittedSchema = z.object({ id: jobId, status: z.literal("queued") });

export const lipsyncSubmittedSchema = z.object({ job_id: jobId, status: z.literal("submitted") });

/** What a job that waits for a GPU may expect. */
const waiting = {
  position: z.int().optional().describe("In the queue for a GPU; 1 is next"),
  eta_seconds: z.number().optional().describe("Until it gets its GPU, by estimate"),
  waiting_for: z.enum(waitingReasons).optional(),
  waiting_reason: z
    .string()
    .optional()
    .describe("With `provider_unavailable`: a sentence; for administrators, with what the provider said"),
};

/** What a job that lives is at. */
const living = {
  stage: z.enum(jobStages).optional().describe("What it is at, while it lives"),
  progress: z.number().nullable().optional().describe("0–1; null when the model does not say"),
};

const error = z.string().describe("Why it failed, timed out or was cancelled");

export const statusSchema = z.object({
  id: jobId,
  status: jobState,
  ...living,
  ...waiting,
  error: error.optional(),
});

/** What came of a job: one of them. */
const resultFields = {
  text: z.string().optional().describe("Of transcripts and descriptions"),
  result_url: link.optional().describe("The file; opens without a key, for seven days from now"),
  output_path: z.string().optional().describe("What a lip-sync function named"),
};

/** What is told of a job that ended, by `GET /result` and by its webhook. */
export const resultSchema = z.union([
  z.object({ id: jobId, status: z.literal("success"), ...resultFields, metadata: metadata.optional() }),
  z.object({ id: jobId, status: z.enum(["failed", "timed_out", "cancelled"]), error, metadata: metadata.optional() }),
]);
/** The same under the name that receivers look for. */
export const webhookSchema = resultSchema.describe("What `GET /result/{id}` answers");

export const lipsyncResultSchema = z.union([
  z.object(resultFields),
  z.object({ job_id: jobId, status: z.literal("failed"), error }),
]);

export const markedSchema = z.object({
  message: z.string(),
  pending: z.literal(true).optional().describe("No worker has acted on it yet"),
});

const summaryFields = {
  id: jobId,
  tenant: z.string().describe("Whose it is"),
  stage: living.stage,
  error: error.optional(),
  created_at: time,
  started_at: time.optional(),
  finished_at: time.optional(),
  complete_by: time.describe("When it must be done"),
  max_time: z.int().describe("Seconds of processing, as it applies"),
  metadata: metadata.optional(),
};

export const jobsSchema = z.object({
  jobs: z.array(z.object({ ...summaryFields, type: z.enum(jobTypes), status: jobState })),
  next_cursor: z.string().optional().describe("Of the next page; absent on the last one"),
});

const jobFields = {
  ...summaryFields,
  ...waiting,
  progress: living.progress,
  attempts: z.int().describe("GPUs that it has had"),
  gpu: z
    .object({ id: z.string(), node: z.string(), type: z.string(), seconds: z.number().optional() })
    .optional()
    .describe("The last one"),
  cost: z
    .object({
      gpu_seconds: z.object({ boot: z.number(), idle: z.number(), busy: z.number(), total: z.number() }),
      amount: z.number().optional().describe("Money, where the rate is known"),
    })
    .optional(),
  result: z.object(resultFields).optional(),
  files: z.array(z.object({ name: z.string(), url: link, mime_type: z.string(), bytes: z.int() })),
  timeline: z
    .array(
      z.object({
        id: z.int().describe("Counts from 1; that of the `status` event"),
        at: time,
        event: z.string(),
        status: jobState.describe("From then on"),
        stage: z.enum(jobStages).optional(),
      }),
    )
    .describe("What happened when; the latest 50 entries"),
};

/** Everything that is known of a job; that of a lip-sync job speaks the words of its own API. */
export const jobSchema = z.discriminatedUnion("type", [
  z.object({ ...jobFields, type: z.enum(["csm", "whisper", "portrait", "analyze"]), status: jobState }),
  z.object({
    ...jobFields,
    type: z.literal("lipsync"),
    job_id: jobId,
    status: z.enum(["submitted", "running", "succeeded", "failed"]),
    state: jobState.describe("In the words of all other jobs"),
    output_path: z.string().optional(),
  }),
]);

/** With `Prefer: wait`, the job as it is after the wait. */
export const acceptedSchema = z.union([submittedSchema, jobSchema]);
export const lipsyncAcceptedSchema = z.union([lipsyncSubmittedSchema, jobSchema]);
