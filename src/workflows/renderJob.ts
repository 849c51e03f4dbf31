import { HandlerUnfinishedPolicy } from "@temporalio/common";
import {
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  condition,
  log,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { PreparedInput } from "../contracts/activityTypes.ts";
import { taskQueues } from "../contracts/names.ts";
import { endJob } from "../contracts/signals.ts";
import { inputsOf } from "../jobs/inputs.ts";
import type { JobEnding, JobResult, JobSpec, JobView } from "../jobs/job.ts";
import type { EndRequest, FinalState } from "../jobs/states.ts";
import { stepsOf } from "../jobs/steps.ts";
import type { JobOutcome } from "../jobs/webhook.ts";
import { callersSentence, failureSentence } from "./failures.ts";
import { createGpuClaim } from "./gpuClaim.ts";
import { createJobRecord, type JobRecord } from "./jobRecord.ts";
import { runLipsync } from "./lipsync.ts";
import { timerMs } from "./wakeTimer.ts";
import { until } from "./withDeadline.ts";

export interface JobSettings {
  /** GPUs that one job may use up. */
  maxGpuAttempts: number;
  leaseRenewalMs: number;
  /** How long a cancelled run may take to be seen idle. */
  cancelSettleMs: number;
}

export interface RenderJobInput {
  job: JobSpec;
  settings: JobSettings;
}

/** Of a key of Temporal's task queue fairness, in bytes. */
const MAX_FAIRNESS_KEY = 64;
/** A job may be accepted so long before Temporal takes it. */
const MAX_START_MS = 20_000;

const { startWebhook, requestCancellation } = proxyLocalActivities<Activities>({ startToCloseTimeout: "5s" });
const { keepRecord } = proxyLocalActivities<Activities>({
  startToCloseTimeout: "10s",
  scheduleToCloseTimeout: "1m",
  retry: { initialInterval: "1s" },
});
const { removeInputs } = proxyActivities<Activities>({
  startToCloseTimeout: "30s",
  // Well within the ten minutes after `complete_by` in which the workflow has to close.
  scheduleToCloseTimeout: "5m",
  retry: { maximumInterval: "15s" },
  summary: "remove the downloaded inputs",
});

/**
 * One job, from its acceptance to its end: download inputs → GPU → run the model → upload → tell the caller.
 *
 * It completes on success, fails with `JobFailed`, `JobExpired` or `JobTimedOut`, and is cancelled when it
 * was cancelled, so that the list of the Web UI shows the truth. The body runs in a scope of its own that
 * only a recorded ending cancels; everything around it cannot be cancelled.
 */
export async function renderJob({ job: submitted, settings }: RenderJobInput): Promise<JobResult> {
  const job = onTemporalsClock(submitted);
  const root = CancellationScope.current();
  const record = createJobRecord(job);
  return await CancellationScope.nonCancellable(async () => {
    const body = new CancellationScope();
    const end = (ending: JobEnding) => {
      if (record.end(ending)) body.cancel();
    };
    const endAsAsked = async ({ state, error, removeData }: EndRequest) => {
      await CancellationScope.nonCancellable(() => sleep(1, { summary: "until the end that is asked for" }));
      if (removeData) record.remove();
      end({ state, error: error ?? defaultErrors[state] });
    };
    // Signals overtake what else has happened. When a step that told the caller of an ending is made again, because
    // its worker died, a request that came meanwhile must not: so it takes effect one step later.
    setHandler(endJob, endAsAsked, { unfinishedPolicy: HandlerUnfinishedPolicy.ABANDON });
    root.cancelRequested.catch(() => end({ state: "cancelled", error: "Job was cancelled" }));
    const { gpuType } = job;
    const claim = gpuType === undefined ? undefined : createGpuClaim({ job, gpuType, settings, record, end });
    const render = async () => {
      const inputs = await prepareInputs(job, record);
      // The download may have succeeded although it was cancelled.
      if (body.consideredCancelled) throw new CancelledFailure("the job has ended");
      return await (claim === undefined ? runLipsync({ job, record, end }, inputs) : claim.withGpu(inputs));
    };

    let result: JobResult | undefined;
    try {
      const work = () => body.run(render);
      result = await until(job.completeBy, "complete_by", () => end(overdue(record)), work);
      record.end({ state: "success" }, shown(result));
    } catch (error) {
      record.end({ state: "failed", error: callersSentence(error) });
    }
    await claim?.settle();
    let ending = record.ending ?? { state: "failed", error: "the job ended without a state" };
    // A worker that died in this very step may have told another ending, of which Temporal did not hear: it stands.
    const before = await tell(job, ending, result);
    if (before !== undefined && before.ending.state !== ending.state) {
      ({ ending, result } = { result: undefined, ...before });
      record.correct(ending, result && shown(result));
    }
    await Promise.all([tidy(job), keep(job, record)]);
    if (ending.state === "cancelled") await becomeCancelled(root, job);
    // A GPU may have been granted until now, to a job that did not know yet that it would end.
    await claim?.settle();
    return outcomeOf(ending, result);
  });
}

/** Whoever took the job may have had a wrong clock: it has the time that was asked for all the same. */
function onTemporalsClock(job: JobSpec): JobSpec {
  const createdAt = workflowInfo().startTime.getTime();
  const aheadMs = job.createdAt - createdAt;
  if (Math.abs(aheadMs) <= MAX_START_MS || !patched("deadline-on-temporals-clock")) return job;
  return { ...job, createdAt, completeBy: job.completeBy - aheadMs };
}

const defaultErrors: Record<Exclude<FinalState, "success">, string> = {
  cancelled: "Job was cancelled",
  timed_out: "Job timed out",
  failed: "Job was marked as failed",
};

async function prepareInputs(job: JobSpec, record: JobRecord): Promise<PreparedInput[]> {
  if (inputsOf(job).length === 0) return [];
  record.update({ stage: "downloading" }, "downloading inputs");
  const { downloadInputs } = proxyActivities<Activities>({
    taskQueue: taskQueues.inputs,
    // How long it takes depends on the files, and on how busy the machine is: the job's deadline is the only limit.
    startToCloseTimeout: timerMs(job.completeBy, Date.now()),
    scheduleToCloseTimeout: timerMs(job.completeBy, Date.now()),
    heartbeatTimeout: "15s",
    cancellationType: "WAIT_CANCELLATION_COMPLETED",
    // The activity counts its tries, and is put off where others come first.
    retry: { maximumInterval: "30s" },
    priority: { fairnessKey: encodeURIComponent(job.tenant).slice(0, MAX_FAIRNESS_KEY) },
    summary: "download, check and prepare the inputs",
  });
  return (await downloadInputs({ job, mayPostpone: true })).inputs;
}

function overdue({ view }: JobRecord): JobEnding {
  const error =
    view.startedAt === undefined
      ? "Job expired before processing could begin"
      : `Job could not be completed by ${view.completeBy}`;
  return { state: "failed", error };
}

/** What the job shows of its result. */
function shown({ files, outputPath }: JobResult): Partial<JobView> {
  return { files, ...(outputPath !== undefined && { outputPath }) };
}

/**
 * The caller is told by a workflow of its own, so that a slow receiver holds no job open.
 * @returns what it was told before, if it was
 */
async function tell(job: JobSpec, ending: JobEnding, result: JobResult | undefined): Promise<JobOutcome | undefined> {
  if (job.notifyUrl === undefined) return undefined;
  const { before } = await startWebhook({
    jobId: job.id,
    tenant: job.tenant,
    url: job.notifyUrl,
    ending,
    ...(job.metadata && { metadata: job.metadata }),
    ...(ending.state === "success" && result && { result }),
  });
  return before;
}

/** Whatever comes of it, the job has ended as it did. */
async function tidy(job: JobSpec): Promise<void> {
  // Jobs that were accepted before speech was made in parts have left none.
  const madeInParts = speaksInParts(job) && patched("speech-in-parts");
  if (inputsOf(job).length === 0 && !madeInParts) return;
  try {
    await removeInputs({ jobId: job.id });
  } catch (error) {
    log.warn("inputs could not be removed", { jobId: job.id, error: failureSentence(error) });
  }
}

/** A speech of more than one item may have been stored in parts, before it was joined. */
function speaksInParts(job: JobSpec): boolean {
  return stepsOf(job).some((step) => step.model === "csm" && step.input.monologue.length > 1);
}

/**
 * What is known of the job outlives its workflow. A local activity costs no state transition; nothing waits for
 * the record but the end of the workflow, which an object store that is down does not hold up for long.
 */
async function keep(job: JobSpec, { view, removed }: JobRecord): Promise<void> {
  if (removed) return;
  const { metadata, fingerprint } = job;
  try {
    await keepRecord({ view, ...(metadata && { metadata }), ...(fingerprint && { fingerprint }) });
  } catch (error) {
    log.error("the record of the job could not be kept", { jobId: job.id, error: failureSentence(error) });
  }
}

/** A workflow can only end as Canceled when the server was asked for it; a signal alone is not enough. */
async function becomeCancelled(root: CancellationScope, job: JobSpec): Promise<void> {
  if (root.consideredCancelled) return;
  await requestCancellation({ jobId: job.id });
  await condition(() => root.consideredCancelled, "10s");
}

/** Ends the workflow in the way that the Web UI lists as what happened. */
function outcomeOf(ending: JobEnding, result: JobResult | undefined): JobResult {
  const error = ending.error ?? ending.state;
  switch (ending.state) {
    case "success":
      return result ?? { files: [] };
    case "cancelled":
      throw new CancelledFailure(error);
    case "timed_out":
      throw ApplicationFailure.nonRetryable(error, "JobTimedOut");
    case "failed":
      throw ApplicationFailure.nonRetryable(error, error.startsWith("Job expired") ? "JobExpired" : "JobFailed");
    default:
      return ending.state satisfies never;
  }
}
