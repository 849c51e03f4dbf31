import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import { timeLimit } from "../lib/timeLimit.ts";
import type { Logger } from "../process/log.ts";

/** Every job's deadline is moved by so much. */
const MAX_SKEW_MS = 5000;
/** Nobody has work for it. */
const QUEUE = "c3-render-clock";
const ACTIVITIES = 2;
const LOOK_MS = 20;
const WARN_WITHIN_MS = 5000;
/** A clock that is set anew; one that is only slewed moves far less between two looks. */
const MAX_STEP_MS = 1000;
const STEP_LOOK_MS = 1000;
/** The server takes no poll that is shorter than a few seconds. This one is given up as soon as it was seen. */
const POLL_MS = 10_000;

/**
 * How far this machine's clock is from the one of the Temporal server, at least: a job's deadline is a time of the one, and its timer
 * runs by the other. The server tells no time by itself, but when it last heard of a poller; so it is made to hear of one.
 * @param now milliseconds since the epoch
 * @returns milliseconds by which this clock is ahead; negative where it is behind, and 0 where no difference is certain
 * @throws when the server does not answer within `timeoutMs`
 */
async function clockSkew(client: Client, timeoutMs: number, now = Date.now): Promise<number> {
  const { namespace } = client.options;
  const { workflowService } = client;
  const taskQueue = { name: QUEUE };
  // A name of its own, for what the server heard of others lies in the past.
  const identity = `clock-${crypto.randomUUID()}`;
  const seen = new AbortController();
  const signal = timeLimit(timeoutMs, seen.signal);
  const before = now();
  const poll = client
    .withDeadline(Date.now() + POLL_MS, () =>
      client.withAbortSignal(signal, () => workflowService.pollActivityTaskQueue({ namespace, taskQueue, identity })),
    )
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  try {
    for (;;) {
      const describe = () => workflowService.describeTaskQueue({ namespace, taskQueue, taskQueueType: ACTIVITIES });
      const { pollers } = await client.withAbortSignal(signal, describe);
      const heard = pollers.find((poller) => poller.identity === identity)?.lastAccessTime;
      if (heard) {
        const at = Number(heard.seconds) * 1000 + Number(heard.nanos) / 1e6;
        return before > at ? before - at : Math.min(0, now() - at);
      }
      await Promise.race([delay(LOOK_MS), poll]);
    }
  } finally {
    seen.abort();
    await poll;
  }
}

/** What is wrong with this machine's clock, in a sentence. @throws like `clockSkew` */
export async function troubleOfClock(client: Client, timeoutMs: number, now = Date.now): Promise<string | undefined> {
  const skewMs = await clockSkew(client, timeoutMs, now);
  if (Math.abs(skewMs) <= MAX_SKEW_MS) return undefined;
  const [seconds, way] = [Math.round(Math.abs(skewMs) / 1000), skewMs > 0 ? "ahead of" : "behind"];
  return `this machine's clock is ${seconds} s ${way} the one of Temporal, so deadlines are wrong by as much`;
}

/**
 * Says what is wrong with this machine's clock, at the start and whenever it was set anew, until `signal` aborts. Nothing waits for it.
 */
export async function watchClock(client: Client, log: Logger, signal: AbortSignal): Promise<void> {
  let known = 0;
  while (!signal.aborted) {
    const offset = Date.now() - performance.now();
    if (Math.abs(offset - known) > MAX_STEP_MS) {
      known = offset;
      await warnOfClock(client, log);
    }
    await delay(STEP_LOOK_MS, undefined, { signal }).catch(() => {});
  }
}

async function warnOfClock(client: Client, log: Logger): Promise<void> {
  try {
    const trouble = await troubleOfClock(client, WARN_WITHIN_MS);
    if (trouble !== undefined) log.error(trouble);
  } catch (error) {
    log.warn({ err: error }, "this machine's clock could not be compared with the one of Temporal");
  }
}
