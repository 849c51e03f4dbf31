import type { Client, WorkflowExecutionDescription, WorkflowExecutionStatusName } from "@temporalio/client";
import { decodeArrayFromPayloads } from "@temporalio/common/lib/internal-non-workflow/index.js";
import { z } from "zod";
import { type JobView, jobTypes } from "../jobs/job.ts";
import { isFinal, jobStages, jobStates } from "../jobs/states.ts";
import { isUnreadable } from "../payloadCodec.ts";
import { ids, searchAttributes } from "../workflows/names.ts";
import type { Caller } from "./context.ts";
import { type HttpError, jobNotFound, unavailable } from "./errors.ts";
import { temporalCall } from "./temporalCall.ts";

/** A job as the Temporal server shows it, with no worker running. */
export interface JobReading {
  view: JobView;
  /** 0–1; null when the model does not say, or does not run. */
  progress: number | null;
  /** The pool that the job waits in for a GPU. */
  waitsIn?: string;
  /** The caller's own. */
  metadata?: Record<string, unknown>;
}

/** @throws HttpError 404, also for a job of another tenant; 503 when the key that encrypted the job is missing */
export async function readJob(client: Client, id: string, caller: Caller): Promise<JobReading> {
  const description = await temporalCall(client, () => client.workflow.getHandle(ids.job(id)).describe());
  if (isUnreadable(description.memo?.view)) throw unreadable(caller, description);
  const memo = memoSchema.safeParse(description.memo);
  if (!memo.success || !maySee(caller, memo.data.view.tenant)) throw jobNotFound();
  const view = truthOf(memo.data.view, description);
  const waitsIn = isFinal(view.state) ? undefined : memo.data.waiting?.gpuType;
  const { metadata } = memo.data;
  return {
    view,
    progress: await progressOf(client, description),
    ...(waitsIn !== undefined && { waitsIn }),
    ...(metadata && { metadata }),
  };
}

/** Whose jobs a caller may read, end and have the files of. */
function maySee({ tenant, admin }: Caller, owner: string | undefined): boolean {
  return admin || owner === tenant;
}

function unreadable(caller: Caller, { typedSearchAttributes }: WorkflowExecutionDescription): HttpError {
  if (!maySee(caller, typedSearchAttributes.get(searchAttributes.tenant))) return jobNotFound();
  return unavailable("job_unreadable", "The job is encrypted with a key that this service does not have");
}

const memoSchema = z.object({
  view: z.custom<JobView>((value) => viewCore.safeParse(value).success),
  waiting: z.object({ gpuType: z.string() }).nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
});

/** As much of a view as the answers are made from. */
const viewCore = z.object({
  id: z.string(),
  type: z.enum(jobTypes),
  state: z.enum(jobStates),
  stage: z.enum(jobStages).optional(),
  error: z.string().optional(),
  completeBy: z.string(),
  files: z.array(z.object({ key: z.string() })),
});

/**
 * A workflow that was terminated, or that ran into the server's own timeout, ran no code that could have
 * written how it ended; a final state that was written before stays.
 */
function truthOf(view: JobView, { status, closeTime }: WorkflowExecutionDescription): JobView {
  const error = endedFromOutside(status.name, view);
  if (error === undefined || isFinal(view.state)) return view;
  const { stage: _over, ...rest } = view;
  return { ...rest, state: "failed", error, ...(closeTime && { finishedAt: closeTime.toISOString() }) };
}

function endedFromOutside(status: WorkflowExecutionStatusName, view: JobView): string | undefined {
  switch (status) {
    case "TERMINATED":
      return "Job was terminated by an operator";
    case "TIMED_OUT":
      return `Job could not be completed by ${view.completeBy}`;
    case "COMPLETED":
    case "FAILED":
    case "CANCELLED":
      return "Job ended without a result";
    default:
      return undefined;
  }
}

const runProgress = z.object({ progress: z.number().nullable() });

/** The last heartbeat of the running model; a few seconds old. */
async function progressOf(client: Client, { raw }: WorkflowExecutionDescription): Promise<number | null> {
  const run = raw.pendingActivities?.find(({ activityType }) => activityType?.name === "runModel");
  const converter = client.options.loadedDataConverter;
  const [details] = await decodeArrayFromPayloads(converter, run?.heartbeatDetails?.payloads);
  return runProgress.safeParse(details).data?.progress ?? null;
}
