import type { JobView } from "./job.ts";
import { isFinal } from "./states.ts";

/**
 * A job as it is, also when its workflow ran no code that could have said how it ended: when it was terminated,
 * or ran into the server's own timeout. A final state that the job showed before stays.
 * @param status of the workflow, in Temporal's words
 */
export function truthOf(view: JobView, status: string, closeTime?: Date): JobView {
  const error = endedFromOutside(view, status);
  if (error === undefined || isFinal(view.state)) return view;
  const { stage: _over, ...rest } = view;
  return { ...rest, state: "failed", error, ...(closeTime && { finishedAt: closeTime.toISOString() }) };
}

function endedFromOutside(view: JobView, status: string): string | undefined {
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
