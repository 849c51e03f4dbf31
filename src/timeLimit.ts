/**
 * Aborts after `timeoutMs`, and when `signal` does.
 *
 * Node's garbage collector may take the timeout of `AbortSignal.any([AbortSignal.timeout(…)])`, and then the limit
 * never comes (https://github.com/nodejs/node/issues/57736). A timeout that is listened to is kept.
 */
export function timeLimit(timeoutMs: number, signal?: AbortSignal | null): AbortSignal {
  const timeout = AbortSignal.timeout(timeoutMs);
  if (!signal) return timeout;
  timeout.addEventListener("abort", () => {});
  return AbortSignal.any([timeout, signal]);
}
