import type { InjectedSinks } from "@temporalio/worker";
import type { PoolReport } from "../gpus/types.ts";
import { timeLimit } from "../lib/timeLimit.ts";
import { writeJson } from "../storage/jsonDocuments.ts";
import { keys } from "../storage/keys.ts";
import type { ObjectStore } from "../storage/objectStore.ts";
import type { PoolSinks } from "../workflows/gpuPool.ts";

const WRITE_WITHIN_MS = 10_000;

/**
 * Writes what pools say of themselves into the object store, where every process can read it. A pool waits for none of
 * it: while one report is being written, only the latest of those that come is kept.
 */
export function createPoolReports(store: ObjectStore) {
  const next = new Map<string, PoolReport>();
  const writing = new Map<string, Promise<void>>();

  async function write(type: string): Promise<void> {
    for (let report = next.get(type); report !== undefined; report = next.get(type)) {
      next.delete(type);
      try {
        await writeJson(store, keys.poolReport(type), report, { signal: timeLimit(WRITE_WITHIN_MS) });
      } catch (error) {
        console.warn(`what the pool ${type} said of itself could not be written: ${error}`);
      }
    }
    writing.delete(type);
  }

  const sinks: InjectedSinks<PoolSinks> = {
    poolReports: {
      publish: {
        fn(_info, report) {
          const { type } = report.status;
          next.set(type, report);
          if (!writing.has(type)) writing.set(type, write(type));
        },
        callDuringReplay: false,
      },
    },
  };
  return {
    sinks,
    /** Resolves when nothing is being written. */
    async close(): Promise<void> {
      await Promise.all(writing.values());
    },
  };
}
