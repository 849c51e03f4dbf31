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

/** Something that was waited for did not come in time; it may still happen. */
export class TooLate extends Error {
  override name = "TooLate";
}

/** What `work` comes to, if that is within `timeoutMs`. @throws TooLate */
export async function withinTime<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TooLate(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * What `work` comes to, unless `signal` says before that nobody waits for it any more; it goes on, then.
 * @throws the signal's reason
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
  });
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
