import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { CancelledFailure } from "@temporalio/common";
import { GradioAborted, GradioFailure, type GradioFailureKind } from "../clients/gradio.ts";
import type { Lease } from "../gpus/types.ts";
import { failureTypes } from "../jobs/failureTypes.ts";
import type { JobSpec } from "../jobs/job.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { runCsm } from "./models/csm.ts";
import type { PreparedInput, RunCancelled, RunProgress, RunResult } from "./types.ts";

export interface RunModelInput {
  job: JobSpec;
  inputs: PreparedInput[];
  lease: Lease;
}

/** What each model's run is given. */
export interface ModelRun extends RunModelInput {
  deps: ActivityDeps;
  /** Unique per attempt; names its temporary folder. */
  attemptName: string;
  report: (progress: RunProgress) => void;
  signal: AbortSignal;
}

const failures: Record<GradioFailureKind, (message: string) => ApplicationFailure> = {
  refused: (message) => ApplicationFailure.nonRetryable(message, failureTypes.modelRefused),
  failed: (message) => ApplicationFailure.nonRetryable(message, failureTypes.modelFailed),
  transport: (message) => ApplicationFailure.retryable(message, "ModelUnreachable"),
};

export function createRunModel(deps: ActivityDeps) {
  return {
    /**
     * Runs a job's model on its leased node. A second attempt (after a worker died) runs it again.
     * @throws CancelledFailure with `RunCancelled`, when the run was cancelled and has ended or was left behind
     */
    async runModel(input: RunModelInput): Promise<RunResult> {
      const signal = cancellationSignal();
      const { job, lease } = input;
      const { attempt } = activityInfo();
      log.info("run starts", { jobId: job.id, leaseId: lease.leaseId, node: lease.node, attempt });
      const attemptName = `${job.id}-run-${attempt}`;
      try {
        return await withHeartbeats<RunResult, RunProgress>((report) =>
          runCsm({ ...input, deps, attemptName, report, signal }),
        );
      } catch (error) {
        throw toFailure(error, signal);
      }
    },
  };
}

function toFailure(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof GradioFailure) return failures[error.kind](error.message);
  if (error instanceof GradioAborted || signal.aborted) {
    // Given up before the node was asked for anything, unless the client says otherwise.
    const details: RunCancelled = { nodeIdle: error instanceof GradioAborted ? error.nodeIdle : true };
    return new CancelledFailure("the run was cancelled", [details]);
  }
  return error;
}
