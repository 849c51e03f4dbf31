import {
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
} from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { PreparedInput, StoredText } from "../contracts/activityTypes.ts";
import { taskQueues } from "../contracts/names.ts";
import { leaseGranted, leaseLost } from "../contracts/signals.ts";
import { expectedSeconds, kindOf } from "../gpus/demand.ts";
import type { Lease, LeaseLoss, LeaseOutcome, LeaseRequest } from "../gpus/types.ts";
import { failureTypes } from "../jobs/failureTypes.ts";
import type { JobEnding, JobResult, JobSpec, StoredFile } from "../jobs/job.ts";
import { type ModelStep, stepsOf } from "../jobs/steps.ts";
import { failureType, leftNodeIdle } from "./failures.ts";
import type { JobRecord } from "./jobRecord.ts";
import type { JobSettings } from "./renderJob.ts";
import { timerMs } from "./wakeTimer.ts";
import { until } from "./withDeadline.ts";

/** A job's side of its GPU: asks for one, uses it, gives it back, and asks for another when it is lost. */
export interface GpuClaim {
  /** Runs the model and uploads its result, on a GPU of the job's own. */
  withGpu(inputs: PreparedInput[]): Promise<JobResult>;
  /** Gives back what was granted and is not wanted (any more). */
  settle(): Promise<void>;
}

interface ClaimOptions {
  job: JobSpec;
  /** The workload type of the GPU. */
  gpuType: string;
  settings: JobSettings;
  record: JobRecord;
  end: (ending: JobEnding) => void;
}

/** What a step left in the store. */
interface Done {
  files: StoredFile[];
  text: StoredText | undefined;
}

type Loss = Omit<LeaseLoss, "leaseId">;

/** As a belt, a waiting job asks again now and then; the pool knows a job that it already has. */
const ASK_AGAIN_MS = 600_000;
const ASK_AGAIN_JITTER_MS = 60_000;
/** For the run to be seen idle and to be reported, after a deadline has cancelled it. */
const REPORT_MS = 15_000;

const signals = proxyLocalActivities<Activities>({ startToCloseTimeout: "5s" });

/** What a healthy node answers, too: otherwise callers could have nodes retired. */
const notTheNode: ReadonlySet<string> = new Set([
  failureTypes.modelRefused,
  failureTypes.modelFailed,
  failureTypes.workerFailed,
]);

export function createGpuClaim({ job, gpuType, settings, record, end }: ClaimOptions): GpuClaim {
  const steps = stepsOf(job);
  /** Steps that are done, on whatever GPU: what they made is in the store. */
  const done: Done[] = [];
  const unwanted: Lease[] = [];
  /** While the job waits: what it was granted, and then undefined again. */
  let waiting = false;
  let granted: Lease | undefined;
  /** While the job uses a GPU. */
  let held: { lease: Lease; lose: (loss: Loss) => void } | undefined;
  let budgetMs = job.maxTimeSeconds * 1000;

  setHandler(leaseGranted, (lease) => {
    if (lease.leaseId === held?.lease.leaseId || lease.leaseId === granted?.leaseId) return;
    if (waiting && granted === undefined) granted = lease;
    else unwanted.push(lease);
  });
  setHandler(leaseLost, ({ leaseId, ...loss }) => {
    if (held?.lease.leaseId === leaseId) held.lose(loss);
  });

  async function acquire(attempt: number, inputs: PreparedInput[]): Promise<Lease> {
    const { tenant, priority, completeBy, weight } = job;
    const soundSeconds = inputs.find(({ name }) => name === "audio")?.durationSeconds;
    const expected = expectedSeconds(steps.slice(done.length), soundSeconds);
    const request: LeaseRequest = {
      jobId: job.id,
      attempt,
      tenant,
      priority,
      completeBy,
      kind: kindOf(job),
      expectedSeconds: expected,
      ...(weight !== undefined && { weight }),
    };
    waiting = true;
    record.waitsFor({ gpuType, request });
    record.update({ stage: "waiting" }, "waiting for a GPU");
    try {
      while (granted === undefined) {
        await signals.requestLease({ gpuType, request });
        await grantOrBelt();
      }
      return granted;
    } catch (error) {
      if (granted !== undefined) unwanted.push(granted);
      await CancellationScope.nonCancellable(() => signals.withdrawLease({ gpuType, jobId: job.id }));
      throw error;
    } finally {
      waiting = false;
      granted = undefined;
      record.waitsFor(undefined);
    }
  }

  async function grantOrBelt(): Promise<void> {
    const at = Date.now() + ASK_AGAIN_MS + Math.random() * ASK_AGAIN_JITTER_MS;
    let askAgain = false;
    const expire = () => {
      askAgain = true;
    };
    await until(at, "until it asks again", expire, () => condition(() => granted !== undefined || askAgain));
  }

  /** @returns the result, or the loss of the GPU */
  async function use(lease: Lease, inputs: PreparedInput[]): Promise<{ result: JobResult } | { loss: Loss }> {
    const scope = new CancellationScope();
    let renewal: CancellationScope | undefined;
    let loss: Loss | undefined;
    const lose = (reported: Loss) => {
      loss ??= reported;
      scope.cancel();
    };
    held = { lease, lose };
    const startedAt = Date.now();
    // Not cancelled with the run: a cancelled run holds the GPU until it was seen to end.
    const renewing = CancellationScope.nonCancellable(async () => {
      renewal = new CancellationScope();
      await keepRenewing(renewal, lease, lose);
    });
    let outcome: LeaseOutcome = "suspect";
    const node = { busy: false };
    try {
      const result = await until(
        maxTimeEnd(lease, startedAt),
        "max_time",
        () => end(overrun(lease, startedAt)),
        () => scope.run(() => runAndUpload(lease, inputs, node)),
      );
      outcome = "completed";
      return { result };
    } catch (error) {
      const endedFromOutside = record.ending !== undefined && (!node.busy || leftNodeIdle(error));
      if (endedFromOutside || notTheNode.has(failureType(error) ?? "")) outcome = "clean";
      if (loss !== undefined && record.ending === undefined) return { loss };
      throw error;
    } finally {
      held = undefined;
      renewal?.cancel();
      await renewing;
      budgetMs -= Date.now() - startedAt;
      await CancellationScope.nonCancellable(() => giveBack(lease, outcome, loss?.at));
    }
  }

  /** @param endedAt epoch milliseconds at which the manager took it away, if it did */
  async function giveBack(lease: Lease, outcome: LeaseOutcome, endedAt?: number): Promise<void> {
    const { gpuId, leaseId } = lease;
    const at = endedAt ?? Date.now();
    record.charge(lease, at);
    await signals.releaseLease({ gpuId, leaseId, outcome, at });
  }

  function maxTimeEnd(lease: Lease, startedAt: number): number {
    return Math.min(startedAt + budgetMs, lease.expiresAt);
  }

  function overrun(lease: Lease, startedAt: number): JobEnding {
    const error =
      lease.expiresAt < startedAt + budgetMs
        ? "Job could not be completed before its GPU instance expired"
        : `Job exceeded maximum runtime of ${job.maxTimeSeconds} seconds`;
    return { state: "failed", error };
  }

  async function runAndUpload(lease: Lease, inputs: PreparedInput[], node: { busy: boolean }): Promise<JobResult> {
    const remainingMs = timerMs(maxTimeEnd(lease, Date.now()), Date.now());
    const withinMaxTime = {
      startToCloseTimeout: remainingMs + settings.cancelSettleMs + REPORT_MS,
      scheduleToCloseTimeout: remainingMs + settings.cancelSettleMs + REPORT_MS,
      heartbeatTimeout: "15s",
      cancellationType: "WAIT_CANCELLATION_COMPLETED",
    } as const;
    const { uploadResult } = proxyActivities<Activities>({
      ...withinMaxTime,
      retry: { initialInterval: "500ms", maximumInterval: "15s" },
      summary: "copy the result into the object store",
    });
    const runStep = async (step: ModelStep, again = false): Promise<Done> => {
      const { runModel } = proxyActivities<Activities>({
        ...withinMaxTime,
        taskQueue: taskQueues.gpu,
        retry: { initialInterval: "1s", maximumInterval: "10s", maximumAttempts: 3 },
        summary: `run ${step.model} on ${lease.node}`,
      });
      node.busy = true;
      const given = [...inputs, ...done.flatMap(soundOf)];
      const run = await runModel({ job, step, inputs: given, lease, ...(again && { again }) });
      node.busy = false;
      if (run.files.length > 0) record.update({ stage: "uploading" }, "uploading the result");
      const { files } = run.files.length > 0 ? await uploadResult({ job, lease, files: run.files }) : { files: [] };
      const stored = [...files, ...(run.stored ?? [])];
      return { files: run.text === undefined ? stored : [run.text.file, ...stored], text: run.text };
    };
    for (const step of steps.slice(done.length)) {
      if (done.length > 0) record.update({ stage: "rendering" }, `rendering, ${step.model}`);
      try {
        done.push(await runStep(step));
      } catch (error) {
        if (failureType(error) !== failureTypes.resultLost) throw error;
        record.update({ stage: "rendering" }, "rendering again, the result was lost");
        done.push(await runStep(step, true));
      }
    }
    const last = done.at(-1);
    return {
      // The last step made what was asked for.
      files: done.toReversed().flatMap(({ files }) => files),
      ...(last?.text?.inline !== undefined && { text: last.text.inline }),
    };
  }

  async function keepRenewing(scope: CancellationScope, lease: Lease, lose: (loss: Loss) => void): Promise<void> {
    const { gpuId, leaseId } = lease;
    try {
      await scope.run(async () => {
        for (;;) {
          await sleep(settings.leaseRenewalMs, { summary: "until the lease is renewed" });
          const { delivered } = await signals.renewLease({ gpuId, leaseId });
          if (!delivered) lose({ reason: "the manager of its GPU is gone", nodeFault: false, at: Date.now() });
        }
      });
    } catch (error) {
      if (!isCancellation(error)) throw error;
    }
  }

  return {
    async withGpu(inputs) {
      let faults = 0;
      for (let attempt = 1; ; attempt += 1) {
        const lease = await acquire(attempt, inputs);
        const gpu = { id: lease.gpuId, node: lease.node, type: lease.gpuType };
        const startedAt = record.view.startedAt ?? new Date(Date.now()).toISOString();
        record.update({ state: "running", stage: "rendering", startedAt, attempts: attempt, gpu }, "rendering");
        const used = await use(lease, inputs);
        if ("result" in used) return used.result;
        if (used.loss.nodeFault) faults += 1;
        if (faults >= settings.maxGpuAttempts)
          throw ApplicationFailure.nonRetryable(`the GPU was lost: ${used.loss.reason}`, failureTypes.gpuLost);
        record.update({}, `lost the GPU: ${used.loss.reason}`);
      }
    },
    async settle() {
      for (let lease = unwanted.shift(); lease !== undefined; lease = unwanted.shift()) {
        await giveBack(lease, "clean");
      }
    },
  };
}

/** Speech that was made first is what a later step is given to say. */
function soundOf({ files }: Done): PreparedInput[] {
  return files.filter(({ mimeType }) => mimeType.startsWith("audio/")).map((file) => ({ ...file, name: "audio" }));
}
