import { setTimeout as sleep } from "node:timers/promises";
import { type Client, WorkflowExecutionAlreadyStartedError } from "@temporalio/client";
import { type HttpError, unavailable } from "./errors.ts";
import { temporalCall } from "./temporalCall.ts";
import { leavesOpen } from "./temporalErrors.ts";

/** Callers wait for an answer for about 15 seconds at least. */
const SETTLED_WITHIN_MS = 10_000;
const TRY_TIMEOUT_MS = 5000;
/** A shorter try would not be answered. */
const MIN_TRY_MS = 500;
const PAUSE_MS = 200;

/**
 * Makes a call that changes something, and repeats it until it is known whether it did: a call that was not answered
 * may have been heard, and whoever is told that it failed would ask for the same once more.
 * @param call does no harm when it is made twice
 * @param unknown what the caller is told when that cannot be found out in time
 * @throws what refused the first try: then nothing was done; WorkflowExecutionAlreadyStartedError of any try
 */
export async function settled<T>(client: Client, call: () => Promise<T>, unknown: (cause: unknown) => HttpError) {
  const deadline = performance.now() + SETTLED_WITHIN_MS;
  let isOpen = false;
  for (;;) {
    try {
      return await temporalCall(client, call, Math.min(TRY_TIMEOUT_MS, deadline - performance.now()));
    } catch (error) {
      if (error instanceof WorkflowExecutionAlreadyStartedError) throw error;
      if (!leavesOpen(error)) throw isOpen ? unknown(error) : error;
      isOpen = true;
      if (deadline - performance.now() < PAUSE_MS + MIN_TRY_MS) throw unknown(error);
      await sleep(PAUSE_MS);
    }
  }
}

/** @param what is asked for, in words that follow "It is not known whether" */
export function outcomeUnknown(what: string, body: Record<string, unknown> = {}): (cause: unknown) => HttpError {
  const message = `It is not known whether ${what}. It does no harm to ask for it again`;
  return (cause) => unavailable("outcome_unknown", message, { body, cause });
}
