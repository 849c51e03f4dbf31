import { CompleteAsyncError } from "@temporalio/activity";
import { ApplicationFailure, CancelledFailure } from "@temporalio/common";
import type { ActivityInboundCallsInterceptor } from "@temporalio/worker";
import { oneLine } from "../lib/text.ts";

/** Of a failure's message and of its stack, in letters; and of causes, each of which has both. */
const LONGEST_MESSAGE = 1000;
const LONGEST_STACK = 4000;
const MOST_CAUSES = 3;

/**
 * Makes what activities throw small enough for Temporal, whoever's words are in it: a failure that is too large for the server
 * makes the activity run again until its time is up.
 */
export const boundedFailures: ActivityInboundCallsInterceptor = {
  async execute(input, next) {
    try {
      return await next(input);
    } catch (error) {
      throw isControl(error) ? error : bounded(error, MOST_CAUSES);
    }
  },
};

/** What tells the SDK how the activity ended. */
function isControl(error: unknown): boolean {
  if (error instanceof CancelledFailure || error instanceof CompleteAsyncError) return true;
  return error instanceof Error && error.name === "AbortError";
}

function bounded(error: unknown, causes: number): ApplicationFailure {
  const { message, name, stack, cause } = error instanceof Error ? error : new Error(String(error));
  const { type, nonRetryable, details, nextRetryDelay, category } =
    error instanceof ApplicationFailure ? error : { type: name };
  const failure = new ApplicationFailure(
    oneLine(message, LONGEST_MESSAGE),
    type,
    nonRetryable,
    details,
    cause === undefined || causes === 0 ? undefined : bounded(cause, causes - 1),
    nextRetryDelay,
    category,
  );
  // The first line of a stack is the message; where it happened is behind it.
  const places = stack?.slice(stack.indexOf(message) + message.length) ?? "";
  failure.stack = `${name}: ${failure.message}${places.slice(0, LONGEST_STACK)}`;
  return failure;
}
