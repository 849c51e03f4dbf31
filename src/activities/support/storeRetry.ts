import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import { messageOf } from "../../lib/text.ts";
import { ObjectNotFound } from "../../storage/objectStore.ts";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/**
 * Asks the object store again for as long as it is away: until `signal` says that the job's time is up, and without
 * using up an attempt of the step, which would download or render again.
 * @throws the signal's reason; at once what asking again cannot help
 */
export async function whileStoreIsAway<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    try {
      return await ask();
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ObjectNotFound || error instanceof ApplicationFailure) throw error;
      log.warn("the object store fails", { error: messageOf(error), waitMs });
    }
    await delay(waitMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
