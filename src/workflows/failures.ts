import { ActivityFailure, ApplicationFailure, CancelledFailure, TimeoutFailure } from "@temporalio/workflow";
import type { LaunchEnd, RunCancelled } from "../activities/types.ts";

/** What a person reads when `error` made a job fail. Messages are written where the cause is known. */
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
