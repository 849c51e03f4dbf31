import { setTimeout as delay } from "node:timers/promises";
import { ApiError } from "./errors.ts";

/** What is told of a call that is made again. */
export type OnRetry = (error: unknown, waitMs: number) => void;

export interface RetryOptions {
  signal?: AbortSignal | undefined;
  onRetry?: OnRetry | undefined;
  /** No call is made later than that; without it, until one succeeds or the signal ends it. */
  withinMs?: number;
  /** Whether 429 is waited for, too. */
  waitsForItsTurn?: boolean;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A server may ask for more time than it turns out to need. */
const LONGEST_RETRY_AFTER_MS = 60_000;
/** What an API that restarts answers, or a proxy in front of one that cannot be reached. */
const PASSING_STATUSES = new Set([502, 503, 504, 520, 521, 522, 523, 524]);
/** Of the system and of undici: no connection, or one that broke. A certificate that is not valid is none of them. */
const NETWORK_ERROR =
  /^(ECONN|EPIPE$|ETIMEDOUT$|ENET|EHOST|ENOTFOUND$|EAI_|UND_ERR_(SOCKET|CONNECT_TIMEOUT|HEADERS_TIMEOUT|BODY_TIMEOUT|CLOSED|DESTROYED)$)/;

/**
 * Makes a call again while that may help: the network or the API failed, for now.
 * @throws what waiting does not help against, and the signal's reason
 */
export async function withRetries<T>(call: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, onRetry, withinMs = Number.POSITIVE_INFINITY, waitsForItsTurn = false } = options;
  const giveUpAt = performance.now() + withinMs;
  for (let calls = 1; ; calls += 1) {
    try {
      return await call();
    } catch (error) {
      signal?.throwIfAborted();
      const waitMs = retryWaitMs(error, calls);
      if (!isPassing(error, waitsForItsTurn) || performance.now() + waitMs > giveUpAt) throw error;
      onRetry?.(error, waitMs);
      await delay(waitMs, undefined, { signal });
    }
  }
}

/** Whether a call failed for a reason that may pass. */
export function isPassing(error: unknown, waitsForItsTurn: boolean): boolean {
  if (error instanceof ApiError) {
    if (error.status === 429) return waitsForItsTurn;
    if (!PASSING_STATUSES.has(error.status)) return false;
    // The API says when it helps to ask again; a proxy does not.
    return error.code === "unknown" || error.retryAfterSeconds !== undefined;
  }
  if (!(error instanceof Error)) return false;
  if (error.name === "TimeoutError") return true;
  const { cause } = error;
  return cause instanceof Error && "code" in cause && NETWORK_ERROR.test(String(cause.code));
}

/** Ever longer, and never for all callers at the same moment; at least what the API asked for. */
export function retryWaitMs(error: unknown, failures: number): number {
  const longest = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS);
  const asked = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
  return Math.max(longest * (0.5 + Math.random() / 2), Math.min(asked, LONGEST_RETRY_AFTER_MS));
}
