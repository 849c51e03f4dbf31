import type { Client } from "@temporalio/client";

const CALL_TIMEOUT_MS = 5000;

/**
 * Calls the Temporal server for at most `timeoutMs`, the client's own retries included; it notices the end of
 * that time after its pause between two of them, which doubles it at worst.
 */
export function temporalCall<T>(client: Client, call: () => Promise<T>, timeoutMs = CALL_TIMEOUT_MS): Promise<T> {
  return client.withDeadline(Date.now() + timeoutMs, call);
}
