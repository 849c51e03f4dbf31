import type { ElsewhereReport, PoolReport } from "../../gpus/types.ts";
import { withinTime } from "../../lib/timeLimit.ts";
import { readJson } from "../../storage/jsonDocuments.ts";
import { keys } from "../../storage/keys.ts";
import type { ApiDeps } from "../context.ts";
import { onceIn } from "../http/ttlCache.ts";

/** A pool says how it is once a second at most. */
const KEPT_FOR_MS = 1000;
const ANSWER_WITHIN_MS = 1000;
/** Every look of the reconciler makes the pools speak; one that has not spoken for so many may not be there. */
const LOOKS = 3;

/** What pools and reconciler say of the queue, as this process read it at most a second ago. */
export interface QueueReports {
  /** Undefined when there is none. @throws when the store does not say */
  pool(gpuType: string): Promise<PoolReport | undefined>;
  elsewhere(): Promise<ElsewhereReport | undefined>;
  /** Whether it may still be like that. */
  isFresh(report: { at: number } | undefined): boolean;
}

export function createQueueReports({ store, config }: Pick<ApiDeps, "store" | "config">): QueueReports {
  const read = onceIn(KEPT_FOR_MS, (key) => withinTime(readJson(store, key), ANSWER_WITHIN_MS));
  return {
    pool: async (gpuType) => (await read(keys.poolReport(gpuType))) as PoolReport | undefined,
    elsewhere: async () => (await read(keys.elsewhereReport)) as ElsewhereReport | undefined,
    isFresh: (report) => report !== undefined && report.at > Date.now() - LOOKS * config.gpu.reconcileIntervalMs,
  };
}
