import { CancellationScope, isCancellation, sleep } from "@temporalio/workflow";
import { timerMs } from "./wakeTimer.ts";

/**
 * Runs `work` and calls `expire` when it has not ended at `at` (epoch milliseconds). What `expire` does ends
 * the work, by cancelling the scope that it runs in: nested deadlines cannot tell which of them fired, so
 * each one says so itself. A deadline that has passed expires before the work starts.
 */
export async function until<T>(at: number, summary: string, expire: () => void, work: () => Promise<T>): Promise<T> {
  const timer = new CancellationScope();
  if (at <= Date.now()) expire();
  else {
    timer
      .run(() => sleep(timerMs(at, Date.now()), { summary }))
      .then(expire)
      .catch((error: unknown) => {
        if (!isCancellation(error)) throw error;
      });
  }
  try {
    return await work();
  } finally {
    timer.cancel();
  }
}
