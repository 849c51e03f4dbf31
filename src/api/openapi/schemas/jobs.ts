import { z } from "zod";
import { finalStates, jobStates } from "../../../jobs/states.ts";
import { jobId, jobStage, jobState, jobType, link, metadata, time, waitingReason } from "./common.ts";

/**
 * One object for each answer, with what only some of them have left out in the others: programs that write clients make one
 * class of an object, and something without a name, or to unwrap, of a choice between objects.
 */

export const submittedSchema = z.object({ id: jobId, status: z.literal("queued") });

export const lipsyncSubmittedSchema = z.object({ job_id: jobId, status: z.literal("submitted") });

/** What a job that waits for a GPU may expect. */
const waiting = {
  position: z.int().optional().describe("In the queue for a GPU; 1 is next"),
  eta_seconds: z.number().optional().describe("Until it gets its GPU, by estimate"),
  waiting_for: waitingReason.optional(),
  waiting_reason: z
    .string()
    .optional()
    .describe("With `provider_unavailable`: a sentence; for administrators, with what the provider said"),
};

/** What a job that lives is at. */
const living = {
  stage: jobStage.optional().describe("What it is at, while it lives"),
  progress: z.number().nullable().optional().describe("0–1; null when the model does not say"),
};

const error = z.string().optional().describe("Why it failed, timed out or was cancelled");

export const statusSchema = z.object({
  id: jobId,
  status: jobState,
  ...living,
  ...waiting,
  error,
});

/** What came of a job: one of them. */
const resultFields = {
  text: z.string().optional().describe("Of transcripts and descriptions"),
  result_url: link.optional().describe("The file; opens without a key, for seven days from now"),
  output_path: z.string().optional().describe("What a lip-sync function named"),
};

export const jobResultSchema = z.object(resultFields).describe("What came of a job that succeeded");

export const finalState = z.enum(finalStates);

/** What is told of a job that ended, by `GET /result` and by its webhook. */
export const resultSchema = z.object({
  id: jobId,
  status: finalState,
  ...resultFields,
  error,
  metadata: metadata.optional(),
});
/** The same under the name that receivers look for. */
export const webhookSchema = resultSchema.describe("What `GET /result/{id}` answers");

export const lipsyncResultSchema = z.object({
  ...resultFields,
  job_id: jobId.optional().describe("Of a job that failed"),
  status: z.enum(["failed"]).optional().describe("Of a job that failed"),
  error,
});

export const markedSchema = z.object({
  message: z.string(),
  pending: z.boolean().optional().describe("`true`: no worker has acted on it yet"),
});

const summaryFields = {
  id: jobId,
  type: jobType,
  tenant: z.string().describe("Whose it is"),
  stage: living.stage,
  error,
  created_at: time,
  started_at: time.optional(),
  finished_at: time.optional(),
  complete_by: time.describe("When it must be done"),
  max_time: z.int().describe("Seconds of processing, as it applies"),
  metadata: metadata.optional(),
};

export const jobSummarySchema = z.object({ ...summaryFields, status: jobState });

export const jobsSchema = z.object({
  jobs: z.array(jobSummarySchema),
  next_cursor: z.string().optional().describe("Of the next page; absent on the last one"),
});

export const jobGpuSchema = z.object({
  id: z.string(),
  node: z.string(),
  type: z.string(),
  seconds: z.number().optional(),
});

export const gpuSecondsSchema = z.object({ boot: z.number(), idle: z.number(), busy: z.number(), total: z.number() });

export const costSchema = z.object({
  gpu_seconds: gpuSecondsSchema,
  amount: z.number().optional().describe("Money, where the rate is known"),
});

export const storedFileSchema = z.object({ name: z.string(), url: link, mime_type: z.string(), bytes: z.int() });

export const timelineEntrySchema = z.object({
  id: z.int().describe("Counts from 1; that of the `status` event"),
  at: time,
  event: z.string(),
  status: jobState.describe("From then on"),
  stage: jobStage.optional(),
});

/** The words of the lip-sync API for a job's state are `submitted`, `running`, `succeeded` and `failed`. */
export const jobStatus = z
  .enum([...jobStates, "submitted", "succeeded"])
  .describe("Of a lip-sync job `submitted`, `running`, `succeeded` or `failed`, of any other its state");

/** Everything that is known of a job; that of a lip-sync job speaks the words of its own API. */
export const jobSchema = z.object({
  ...summaryFields,
  status: jobStatus,
  ...waiting,
  progress: living.progress,
  attempts: z.int().describe("GPUs that it has had"),
  gpu: jobGpuSchema.optional().describe("The last one"),
  cost: costSchema.optional(),
  result: jobResultSchema.optional(),
  files: z.array(storedFileSchema),
  timeline: z.array(timelineEntrySchema).describe("What happened when; the latest 50 entries"),
  job_id: jobId.optional().describe("Of a lip-sync job: its id once more"),
  state: jobState.optional().describe("Of a lip-sync job: its status in the words of all other jobs"),
  output_path: z.string().optional().describe("Of a lip-sync job"),
});

/** With `Prefer: wait`, the job as it is after the wait. */
const afterTheWait = "With `Prefer: wait` the fields of `Job` are there, too, as they are after the wait";
export const acceptedSchema = jobSchema.partial().required({ id: true, status: true }).describe(afterTheWait);
export const lipsyncAcceptedSchema = jobSchema
  .partial()
  .required({ job_id: true, status: true })
  .describe(afterTheWait);
