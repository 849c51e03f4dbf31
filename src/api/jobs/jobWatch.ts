import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import { ids } from "../../contracts/names.ts";
import { isFinal } from "../../jobs/states.ts";
import type { ApiDeps, Caller } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { type JobReading, readJob } from "./readJob.ts";

/** Progress is in heartbeats, of which no event tells; a worker sends one every three seconds. */
const PROGRESS_EVERY_MS = 2000;
/** The server answers sooner, with or without news. */
const POLL_TIMEOUT_MS = 70_000;
const RETRY_AFTER_MS = 1000;
/** `ALL_EVENT` of the Temporal API's `HistoryEventFilterType` */
const ALL_EVENTS = 1;
/** Readers of several tenants share a watch: whether each may see the job is asked before. */
const ANYBODY: Caller = { tenant: "", admin: true };

/**
 * How a job goes: its latest reading, then each newer one, until it has ended or there is no such job any more.
 * A reader that is slow gets only the latest, so that it costs no memory. Ends when `signal` aborts.
 */
export type WatchJob = (id: string, signal: AbortSignal) => AsyncGenerator<JobReading, void>;

/** What all readers of one job share. */
interface Watch {
  readers: number;
  latest: JobReading | undefined;
  ended: boolean;
  /** `change`: one of the above is new. */
  events: EventEmitter;
  stop: AbortController;
}

/**
 * One watch per job in this process, however many read it. It asks the server to be told of the next event of the
 * workflow, which costs a call in twenty seconds while nothing happens, and then looks at the job.
 * @param read looks at the job as it is now
 */
export function createWatchJob(
  deps: Pick<ApiDeps, "client" | "store" | "log" | "stopping">,
  read: (id: string, caller: Caller) => Promise<JobReading> = (id, caller) => readJob(deps, id, caller),
): WatchJob {
  const { client, log, stopping } = deps;
  const watches = new Map<string, Watch>();
  stopping.addEventListener("abort", () => {
    for (const [id, watch] of watches) end(id, watch);
  });

  return async function* watchJob(id, signal) {
    const watch = watches.get(id) ?? start(id);
    watch.readers += 1;
    try {
      for (let seen: JobReading | undefined; !signal.aborted; ) {
        const { latest, ended, events } = watch;
        if (latest !== undefined && latest !== seen) {
          seen = latest;
          yield latest;
        } else if (ended) return;
        else await once(events, "change", { signal }).catch(unlessAborted(signal));
      }
    } finally {
      watch.readers -= 1;
      if (watch.readers === 0) end(id, watch);
    }
  };

  function start(id: string): Watch {
    const watch = {
      readers: 0,
      latest: undefined,
      ended: stopping.aborted,
      events: new EventEmitter().setMaxListeners(0),
      stop: new AbortController(),
    };
    watches.set(id, watch);
    if (!watch.ended) void follow(id, watch);
    return watch;
  }

  function end(id: string, watch: Watch): void {
    if (watches.get(id) === watch) watches.delete(id);
    watch.stop.abort();
    watch.ended = true;
    watch.events.emit("change");
  }

  async function follow(id: string, watch: Watch): Promise<void> {
    const { signal } = watch.stop;
    while (!signal.aborted) {
      try {
        await followUntilEnd(id, watch);
        break;
      } catch (error) {
        if (signal.aborted || error instanceof HttpError) break;
        log.warn({ err: error, jobId: id }, "the job cannot be watched for the moment");
        await sleep(RETRY_AFTER_MS, undefined, { signal }).catch(unlessAborted(signal));
      }
    }
    end(id, watch);
  }

  /** Looks again after each event of the workflow. */
  async function followUntilEnd(id: string, watch: Watch): Promise<void> {
    const nextEvent = eventsOf(client, ids.job(id), watch.stop.signal);
    let news: Promise<void> | undefined;
    for (;;) {
      const latest = await read(id, ANYBODY);
      watch.latest = latest;
      watch.events.emit("change");
      // A call that is made with a signal that has aborted already is not cancelled.
      if (isFinal(latest.view.state) || watch.stop.signal.aborted) return;
      news ??= nextEvent().then(() => {
        news = undefined;
      });
      const renders = latest.view.stage === "rendering";
      await Promise.race([news, ...(renders ? [sleep(PROGRESS_EVERY_MS, undefined, { ref: false })] : [])]);
    }
  }
}

/** @returns waits for new events of a workflow; the first call is answered with those that there are */
function eventsOf(client: Client, workflowId: string, signal: AbortSignal): () => Promise<void> {
  const { namespace } = client.options;
  let nextPageToken: Uint8Array | null = null;
  const poll = async () => {
    const history = await client.workflowService.getWorkflowExecutionHistory({
      namespace,
      execution: { workflowId },
      nextPageToken,
      waitNewEvent: true,
      historyEventFilterType: ALL_EVENTS,
    });
    ({ nextPageToken } = history);
  };
  // Temporal's client listens to a signal for as long as it exists: each call has its own.
  return () => client.withAbortSignal(AbortSignal.any([signal]), () => temporalCall(client, poll, POLL_TIMEOUT_MS));
}

function unlessAborted(signal: AbortSignal) {
  return (error: unknown) => {
    if (!signal.aborted) throw error;
  };
}
