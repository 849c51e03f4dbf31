/**
 * What a job can be, in the words that every answer, webhook, log line and search attribute uses.
 *
 * `queued` → `running` → one of the four final states; a final state never changes again, and a job that
 * lost its GPU stays `running` (its stage goes back to `waiting`), so that a status never moves backwards.
 */
export const jobStates = ["queued", "running", "success", "failed", "timed_out", "cancelled"] as const;
export type JobState = (typeof jobStates)[number];

export const finalStates = ["success", "failed", "timed_out", "cancelled"] as const satisfies readonly JobState[];
export type FinalState = (typeof finalStates)[number];

/** The final states that a client or an operator may ask for with the `endJob` signal. */
export const requestableStates = ["timed_out", "cancelled", "failed"] as const satisfies readonly FinalState[];
export type RequestableState = (typeof requestableStates)[number];

/** What the `endJob` signal carries. */
export interface EndRequest {
  state: RequestableState;
  /** In the caller's words. */
  error?: string;
  /** From now on there is no such job; its data go when it has ended. */
  removeData?: boolean;
}

/** What a job that has not ended is doing. */
export const jobStages = ["downloading", "waiting", "rendering", "uploading"] as const;
export type JobStage = (typeof jobStages)[number];

export function isFinal(state: JobState): state is FinalState {
  return (finalStates as readonly JobState[]).includes(state);
}
