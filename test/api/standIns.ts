import { condition, defineSignal, proxyActivities, setHandler, upsertMemo } from "@temporalio/workflow";
import { endJob } from "../../src/contracts/signals.ts";
import { type JobView, withEvent } from "../../src/jobs/job.ts";

export const advance = defineSignal<[string]>("advance");

/** Workflows that behave as the API sees the real ones, and do nothing else. */

/** A job that renders until it is asked to end. */
export async function rendering(view: JobView): Promise<void> {
  const { runModel } = proxyActivities<{ runModel(): Promise<void> }>({
    startToCloseTimeout: "1m",
    cancellationType: "ABANDON",
    retry: { maximumAttempts: 1 },
  });
  let ended = false;
  setHandler(endJob, ({ state, error }) => {
    upsertMemo({ view: { ...view, state, error: error ?? `Job ${state}` } });
    ended = true;
  });
  await Promise.race([runModel(), condition(() => ended)]);
}

/** A job with one more event on its timeline for every signal, until it is asked to end. */
export async function advancing(initial: JobView): Promise<void> {
  let view = initial;
  setHandler(advance, (event) => {
    view = withEvent(view, Date.now(), event);
    upsertMemo({ view });
  });
  let ended = false;
  setHandler(endJob, ({ state }) => {
    view = withEvent({ ...view, state }, Date.now(), state);
    upsertMemo({ view });
    ended = true;
  });
  await condition(() => ended);
}
