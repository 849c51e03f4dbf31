import type { Client } from "@temporalio/client";

const CALL_TIMEOUT_MS = 5000;

/** Calls the Temporal server, its client's own retries included, for at most `timeoutMs`. */
export function temporalCall<T>(client: Client, call: () => Promise<T>, timeoutMs = CALL_TIMEOUT_MS): Promise<T> {
  return client.withDeadline(Date.now() + timeoutMs, call);
}
