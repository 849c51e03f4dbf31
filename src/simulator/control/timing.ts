import { setTimeout as delay } from "node:timers/promises";

/** How long the simulated models take. */
export interface Pace {
  /** Factor of the time that a render takes; 0: as fast as it can. */
  speed: () => number;
  /** A fixed time per render, in seconds, instead. */
  renderSeconds: () => number | undefined;
}

/** Waits until a render that began at `startedAt` (`performance.now()`) has taken its time. */
export async function takeTime(pace: Pace, startedAt: number, usualSeconds: number): Promise<void> {
  const wanted = pace.renderSeconds() ?? usualSeconds * pace.speed();
  const left = wanted * 1000 - (performance.now() - startedAt);
  if (left > 0) await delay(left, undefined, { ref: false });
}
