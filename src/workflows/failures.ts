import { ActivityFailure, ApplicationFailure, CancelledFailure, TimeoutFailure } from "@temporalio/workflow";
import type { LaunchEnd, RunCancelled } from "../contracts/activityTypes.ts";
import { isTold } from "../jobs/failureTypes.ts";

/**
 * What a job's caller reads when `error` made it fail: what was written for callers, where the cause is known. Everything
 * else is in the log and in Temporal, for the operator.
 */
export function callersSentence(error: unknown): string {
  const step = error instanceof ActivityFailure ? ` in the step ${error.activityType}` : "";
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure && isTold(cause.type)) return cause.message;
  if (cause instanceof TimeoutFailure && error instanceof ActivityFailure) {
    const last =
      cause.cause instanceof ApplicationFailure && isTold(cause.cause.type) ? `: ${cause.cause.message}` : "";
    return `the step ${error.activityType} did not end in time${last}`;
  }
  return `the service failed${step}, which is not the job's doing; its operator finds the reason under the job's id`;
}

/** What an operator reads of a failure. */
export function failureSentence(error: unknown): string {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (cause instanceof ApplicationFailure) return cause.message;
  if (cause instanceof TimeoutFailure && error instanceof ActivityFailure) {
    const last = cause.cause instanceof ApplicationFailure ? `: ${cause.cause.message}` : "";
    return `the step ${error.activityType} did not end in time${last}`;
  }
  return cause instanceof Error ? cause.message : String(cause);
}

export function failureType(error: unknown): string | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined;
}

/** Whether a launch that failed or was cancelled can have left no instance behind. */
export function launchedNothing(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(cause instanceof CancelledFailure || cause instanceof ApplicationFailure)) return false;
  const [details] = cause.details ?? [];
  return isLaunchEnd(details) && details.nothingLaunched;
}

function isLaunchEnd(details: unknown): details is LaunchEnd {
  return typeof details === "object" && details !== null && "nothingLaunched" in details;
}

/** Whether a run that was cancelled was seen to have left its node idle. */
export function leftNodeIdle(error: unknown): boolean {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(cause instanceof CancelledFailure)) return false;
  const [details] = cause.details;
  return isRunCancelled(details) && details.nodeIdle;
}

function isRunCancelled(details: unknown): details is RunCancelled {
  return typeof details === "object" && details !== null && "nodeIdle" in details;
}
