import type { WebhookConfig } from "../../config/index.ts";

/** Whether a receiver may be called now; whoever is admitted says afterwards what came of it. */
export type Admission =
  | { admitted: true; left(answered: boolean | undefined): void }
  | { admitted: false; reason: "busy" | "silent"; retryMs: number };

interface Receiver {
  inFlight: number;
  /** Calls without an answer since the last one that had one. */
  unanswered: number;
  /** `performance.now()` at which one call may find out whether a silent receiver is back. */
  probeAt: number;
}

const BUSY_RETRY_MS = 1000;
const MAX_REMEMBERED = 10_000;

/**
 * Keeps receivers from taking each other's place: one that does not answer holds a connection and a slot of
 * the worker for the whole time limit of each call.
 *
 *   open ──── several calls in a row without an answer ────▶ silent: nobody is admitted
 *   silent ── after a pause, one call at a time ──▶ answered: open again; not answered: another pause
 *
 * An answer is any HTTP status: a receiver that refuses quickly is in nobody's way. Each worker process knows
 * only what it saw itself.
 */
export function createReceivers({ maxInFlight, maxUnanswered, pauseMs }: WebhookConfig["receivers"]) {
  const receivers = new Map<string, Receiver>();

  return {
    /** @param origin of the receiver's URL */
    admit(origin: string): Admission {
      const receiver = receivers.get(origin) ?? { inFlight: 0, unanswered: 0, probeAt: 0 };
      if (receiver.unanswered >= maxUnanswered) {
        const retryMs = Math.max(0, receiver.probeAt - performance.now());
        if (receiver.inFlight > 0) return { admitted: false, reason: "silent", retryMs: retryMs + pauseMs };
        if (retryMs > 0) return { admitted: false, reason: "silent", retryMs };
      }
      if (receiver.inFlight >= maxInFlight) return { admitted: false, reason: "busy", retryMs: BUSY_RETRY_MS };
      receiver.inFlight += 1;
      receivers.set(origin, receiver);
      return { admitted: true, left: (answered) => leave(origin, receiver, answered) };
    },
  };

  /** @param answered undefined when the call was broken off, which says nothing of the receiver */
  function leave(origin: string, receiver: Receiver, answered: boolean | undefined): void {
    receiver.inFlight -= 1;
    if (answered === true) receiver.unanswered = 0;
    if (answered === false) {
      receiver.unanswered += 1;
      receiver.probeAt = performance.now() + pauseMs;
    }
    if (receiver.inFlight === 0 && receiver.unanswered === 0) receivers.delete(origin);
    forgetLongGone();
  }

  /** Nobody may fill the memory with names of receivers that never answer. */
  function forgetLongGone(): void {
    for (const [origin, { inFlight }] of receivers) {
      if (receivers.size <= MAX_REMEMBERED) return;
      if (inFlight === 0) receivers.delete(origin);
    }
  }
}
