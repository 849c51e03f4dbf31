import { setTimeout as delay } from "node:timers/promises";
import { Context, log } from "@temporalio/activity";

/** The next attempt begins seconds after Temporal has given one up. */
const KEPT_MS = 30_000;

type Report<Details> = (details: Details) => void;

interface Work<T, Details> {
  result: Promise<T>;
  abort: AbortController;
  /** Of the attempt that has it. */
  report: Report<Details>;
}

/**
 * Work that survives its attempt. After a pause of this process or of Temporal's server, an attempt is given up although its
 * work goes on, or is done: the next attempt that comes to this process takes it over, rather than doing it twice.
 */
export function createLostAttempts<T, Details>() {
  const works = new Map<string, Work<T, Details>>();

  return {
    /**
     * Does the work of the activity that this is called in, or goes on with what an earlier attempt of it began.
     * @param work its signal is aborted with the attempt's, unless the attempt was only given up
     */
    async run(report: Report<Details>, work: (report: Report<Details>, signal: AbortSignal) => Promise<T>): Promise<T> {
      const attempt = Context.current();
      const { info, cancellationSignal: signal } = attempt;
      const key = `${info.workflowExecution?.runId}/${info.activityId}`;
      const begun = works.get(key);
      if (begun !== undefined) log.info("the work of an attempt that was given up goes on");
      const running = begun ?? start(key, work);
      running.report = report;
      const givenUp = new Promise<never>((_, reject) => {
        const onAbort = () => (isGivenUp(attempt) ? reject(signal.reason) : running.abort.abort(signal.reason));
        signal.addEventListener("abort", onAbort, { once: true });
        if (signal.aborted) onAbort();
      });
      try {
        return await Promise.race([running.result, givenUp]);
      } finally {
        // Also with a result: nobody knows whether Temporal still takes it from this attempt.
        void keep(key, running, report);
      }
    },
  };

  function start(key: string, work: (report: Report<Details>, signal: AbortSignal) => Promise<T>): Work<T, Details> {
    const abort = new AbortController();
    const started = { abort, report: (_details: Details) => {} };
    const result = work((details) => started.report(details), abort.signal);
    const running = Object.assign(started, { result });
    works.set(key, running);
    // The next attempt does it anew.
    result.catch(() => forget(key, running));
    return running;
  }

  /** Unless other work has taken its place. */
  function forget(key: string, work: Work<T, Details>): void {
    if (works.get(key) === work) works.delete(key);
  }

  /** Until another attempt has it, or none comes. */
  async function keep(key: string, work: Work<T, Details>, report: Report<Details>): Promise<void> {
    await delay(KEPT_MS, undefined, { ref: false });
    if (work.report !== report) return;
    forget(key, work);
    work.abort.abort(new Error("no attempt wants it any more"));
  }
}

/** Temporal no longer waits for this attempt, and nobody has cancelled the work. */
function isGivenUp({ cancellationDetails }: Context): boolean {
  const { notFound, timedOut, cancelRequested } = cancellationDetails ?? {};
  return Boolean(notFound || timedOut) && !cancelRequested;
}
