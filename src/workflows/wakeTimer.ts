import { CancellationScope, condition, isCancellation, sleep } from "@temporalio/workflow";

/** Timers of zero never fire and negative ones wedge the workflow task. */
export function timerMs(untilMs: number, nowMs: number): number {
  return Math.max(1, Math.ceil(untilMs - nowMs));
}

export interface Alarm {
  /**
   * Waits until `ready()` or, at the latest, until `at` (epoch milliseconds; undefined: no limit). It may
   * return earlier than that: the caller looks again at what it waits for.
   */
  wait(ready: () => boolean, at: number | undefined, summary: string): Promise<void>;
}

/**
 * The one timer of a long-lived main loop. A timer per turn of the loop would write two events for every
 * message; this one is left running, and started anew only when an earlier time is wanted.
 */
export function createAlarm(): Alarm {
  let running: { at: number; scope: CancellationScope } | undefined;

  function start(at: number, summary: string): void {
    running?.scope.cancel();
    const timer = { at, scope: new CancellationScope() };
    running = timer;
    timer.scope
      .run(() => sleep(timerMs(at, Date.now()), { summary }))
      .then(() => {
        if (running === timer) running = undefined;
      })
      .catch((error: unknown) => {
        if (!isCancellation(error)) throw error;
      });
  }

  return {
    async wait(ready, at, summary) {
      if (at !== undefined && (running === undefined || at < running.at)) start(at, summary);
      const timer = running;
      await condition(() => ready() || running !== timer);
    },
  };
}
