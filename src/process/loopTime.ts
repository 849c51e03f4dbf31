import { stat } from "node:fs/promises";

/** Often enough to notice within a fraction of a second that this process is late. */
const TICK_MS = 50;
/** A timer that is late by less than that is no news. */
const PUNCTUAL_MS = 2 * TICK_MS;
/** A limit comes at last after so many times its length, however late this process is. */
const MAX_STRETCH = 6;

/** What is measured while this process waits for somebody else. */
export interface LoopWatch {
  /** Aborts after `timeoutMs` of the loop's own time, and when the caller's signal does. */
  signal: AbortSignal;
  /** For how long, in all, this process could not have heard an answer, in milliseconds. */
  lateMs(): number;
  /** Must be called. */
  end(): void;
}

/**
 * A time limit for the answers of others that does not hold our own lateness against them. Under too much load, or in
 * a long computation, the event loop stands still: an ordinary timeout is then over in the moment in which the loop
 * goes on, before the answer that has long been there is read. Here time counts only while the loop runs. Its
 * lateness is told, too, and that of the thread pool, which looks up names of hosts and may be busy with pictures.
 */
export function watchLoop(timeoutMs: number, signal?: AbortSignal): LoopWatch {
  const limit = new AbortController();
  const startedAt = performance.now();
  let tickedAt = startedAt;
  let ranMs = 0;
  let loopLateMs = 0;
  let poolMs: number | undefined;
  const count = () => {
    const now = performance.now();
    const gapMs = now - tickedAt;
    tickedAt = now;
    ranMs += Math.min(gapMs, PUNCTUAL_MS);
    if (gapMs > PUNCTUAL_MS) loopLateMs += gapMs - TICK_MS;
    if (ranMs >= timeoutMs || now - startedAt >= MAX_STRETCH * timeoutMs) {
      limit.abort(new DOMException(`no answer within ${timeoutMs} ms`, "TimeoutError"));
    }
  };
  const ticking = setInterval(count, Math.min(TICK_MS, timeoutMs));
  const pass = () => limit.abort(signal?.reason);
  if (signal?.aborted) pass();
  else signal?.addEventListener("abort", pass, { once: true });
  // Whatever it finds: how long it took tells how long the pool let it wait.
  const probe = () => {
    poolMs = performance.now() - startedAt;
  };
  stat(".").then(probe, probe);
  return {
    signal: limit.signal,
    lateMs() {
      const now = performance.now();
      const openMs = now - tickedAt > PUNCTUAL_MS ? now - tickedAt - TICK_MS : 0;
      return Math.max(loopLateMs + openMs, (poolMs ?? now - startedAt) - PUNCTUAL_MS);
    },
    end() {
      clearInterval(ticking);
      signal?.removeEventListener("abort", pass);
    },
  };
}
