import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { CancelledFailure } from "@temporalio/common";
import { ModelAborted, ModelFailure, type ModelFailureKind } from "../../clients/modelCall.ts";
import type { PreparedInput, RunCancelled, RunProgress, RunResult } from "../../contracts/activityTypes.ts";
import type { Lease } from "../../gpus/types.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { JobSpec } from "../../jobs/job.ts";
import type { ModelStep } from "../../jobs/steps.ts";
import { messageOf } from "../../lib/text.ts";
import { isLack } from "../inputs/failures.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { withHeartbeats } from "../support/heartbeats.ts";
import { createLostAttempts } from "../support/lostAttempts.ts";
import { runAnalyze } from "./analyze.ts";
import { runCsm } from "./csm.ts";
import { explain } from "./knownFailures.ts";
import { runPortrait } from "./portrait.ts";
import { runWhisper } from "./whisper.ts";

export interface RunModelInput {
  job: JobSpec;
  /** What is to be run for it now. */
  step: ModelStep;
  /** Also what earlier steps made for this one. */
  inputs: PreparedInput[];
  lease: Lease;
  /** The result of the first run on this lease was lost: what it left is not to be found again. */
  again?: boolean;
}

/** What each model's run is given. */
export interface ModelRun extends Omit<RunModelInput, "step"> {
  deps: ActivityDeps;
  /** Unique per attempt; names its temporary folder. */
  attemptName: string;
  report: (progress: RunProgress) => void;
  signal: AbortSignal;
}

const failures: Record<ModelFailureKind, (message: string) => ApplicationFailure> = {
  refused: (message) => ApplicationFailure.nonRetryable(message, failureTypes.modelRefused),
  failed: (message) => ApplicationFailure.nonRetryable(message, failureTypes.modelFailed),
  broken: (message) => ApplicationFailure.nonRetryable(message, failureTypes.nodeBroken),
  transport: (message) => ApplicationFailure.retryable(message, failureTypes.modelUnreachable),
};

export function createRunModel(deps: ActivityDeps) {
  const attempts = createLostAttempts<RunResult, RunProgress>();
  return {
    /**
     * Runs a model on a job's leased node. A second attempt (after a worker died) finds a run of ComfyUI again; the
     * other models run again, unless the worker was only paused.
     * @throws CancelledFailure with `RunCancelled`, when the run was cancelled and has ended or was left behind
     */
    async runModel({ step, ...input }: RunModelInput): Promise<RunResult> {
      const signal = cancellationSignal();
      const { job, lease } = input;
      const { attempt } = activityInfo();
      const named = { jobId: job.id, model: step.model, leaseId: lease.leaseId, node: lease.node };
      log.info("run starts", { ...named, attempt });
      const attemptName = `${job.id}-${step.model}-${attempt}`;
      try {
        return await withHeartbeats<RunResult, RunProgress>((beat) =>
          attempts.run(beat, (report, whileWanted) =>
            dispatch({ ...input, deps, attemptName, report, signal: whileWanted }, step),
          ),
        );
      } catch (error) {
        throw toFailure(error, step.model, signal);
      }
    },
  };
}

function dispatch(run: ModelRun, step: ModelStep): Promise<RunResult> {
  switch (step.model) {
    case "csm":
      return runCsm(run, step.input);
    case "whisper":
      return runWhisper(run, step.input);
    case "portrait":
      return runPortrait(run);
    case "analyze":
      return runAnalyze(run, step.input);
    default:
      return step satisfies never;
  }
}

function toFailure(error: unknown, model: ModelStep["model"], signal: AbortSignal): unknown {
  if (error instanceof ModelFailure) {
    const { kind, message } = error;
    log.warn("the run failed", { model, kind, error: message });
    if (kind !== "failed") return failures[kind](message);
    const { sentence, nodeBroken } = explain(model, message);
    return failures[nodeBroken ? "broken" : "failed"](sentence);
  }
  if (error instanceof ModelAborted || signal.aborted) {
    // Given up before the node was asked for anything, unless the client says otherwise.
    const details: RunCancelled = { nodeIdle: error instanceof ModelAborted ? error.nodeIdle : true };
    return new CancelledFailure("the run was cancelled", [details]);
  }
  if (error instanceof ApplicationFailure) return error;
  // A full disk, a store that fails, a mistake of ours: whatever it is, the node has no part in it.
  const message = messageOf(error);
  if (isLack(error)) log.warn("this worker lacks what it needs", { model, error: message });
  return ApplicationFailure.create({
    message: isLack(error) ? "a worker could not do its work" : message,
    type: failureTypes.workerFailed,
    ...(error instanceof Error && !isLack(error) && { cause: error }),
  });
}
