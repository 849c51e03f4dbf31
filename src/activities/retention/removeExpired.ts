import { activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { keys } from "../../storage/keys.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { withHeartbeats } from "../support/heartbeats.ts";

const DAY_MS = 86_400_000;
const BATCH = 500;

export function createRemoveExpired({ config, store }: Pick<ActivityDeps, "config" | "store">) {
  return {
    /**
     * Removes all that jobs have left and that is older than they are to be kept; also inputs, which are removed
     * with the job when all goes well.
     * @returns how many objects
     */
    async removeExpiredObjects(): Promise<number> {
      const signal = cancellationSignal();
      // By Temporal's clock: one of ours that is wrong would remove what is to be kept.
      const expiredBefore = activityInfo().currentAttemptScheduledTimestampMs - config.resultRetentionDays * DAY_MS;
      let removed = 0;
      let batch: string[] = [];

      async function removeBatch(): Promise<void> {
        signal.throwIfAborted();
        if (batch.length > 0) await store.remove(batch);
        removed += batch.length;
        batch = [];
      }

      return await withHeartbeats(async () => {
        for (const prefix of keys.ofAllJobs) {
          for await (const { key, lastModified } of store.list(prefix)) {
            if (lastModified.getTime() >= expiredBefore) continue;
            batch.push(key);
            if (batch.length === BATCH) await removeBatch();
          }
        }
        await removeBatch();
        log.info("expired results and records are removed", { removed });
        return removed;
      });
    },
  };
}
