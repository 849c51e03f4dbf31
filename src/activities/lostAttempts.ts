import { setTimeout as delay } from "node:timers/promises";
import { Context, log } from "@temporalio/activity";

/** The next attempt begins seconds after Temporal has given one up. */
const KEPT_MS = 30_000;

interface Work<T, Details> {
  result: Promise<T>;
  abort: AbortController;
  report: (details: Details) => void;
}

/**
 * Work that survives its attempt. After a pause of this process or of Temporal's server, an attempt is given up although its work
 * goes on: the next attempt that comes to this process takes it over, rather than doing it twice.
 */
export function createLostAttempts<T, Details>() {
  const lost = new Map<string, Work<T, Details>>();

  function start(work: (report: (details: Details) => void, signal: AbortSignal) => Promise<T>): Work<T, Details> {
    const abort = new AbortController();
    const started = { abort, report: (_details: Details) => {} };
    const result = work((details) => started.report(details), abort.signal);
    return Object.assign(started, { result });
  }

  async function keep(key: string, work: Work<T, Details>): Promise<void> {
    lost.set(key, work);
    await delay(KEPT_MS, undefined, { ref: false });
    if (lost.get(key) !== work) return;
    lost.delete(key);
    work.abort.abort(new Error("no attempt wants it any more"));
  }

  return {
    /**
     * @param key the same for every attempt of one piece of work, and no other one's
     * @param signal of the attempt; the work's own is aborted by it, unless the attempt was only given up
     */
    async run(
      key: string,
      report: (details: Details) => void,
      signal: AbortSignal,
      work: (report: (details: Details) => void, signal: AbortSignal) => Promise<T>,
    ): Promise<T> {
      const before = lost.get(key);
      if (before !== undefined) log.info("the work of an attempt that was given up goes on", { work: key });
      const running = before ?? start(work);
      lost.delete(key);
      running.report = report;
      running.result.catch(() => {});
      const attempt = Context.current();
      let giveUp = () => {};
      const givenUp = new Promise<never>((_, reject) => {
        giveUp = () => {
          const { notFound, timedOut, cancelRequested } = attempt.cancellationDetails ?? {};
          if ((!notFound && !timedOut) || cancelRequested) return running.abort.abort(signal.reason);
          running.report = () => {};
          void keep(key, running);
          reject(signal.reason);
        };
      });
      signal.addEventListener("abort", giveUp, { once: true });
      if (signal.aborted) giveUp();
      try {
        return await Promise.race([running.result, givenUp]);
      } finally {
        signal.removeEventListener("abort", giveUp);
      }
    },
  };
}
