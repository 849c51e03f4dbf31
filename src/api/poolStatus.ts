import type { JobOutlook, PoolStatus } from "../gpus/types.ts";
import { isUnreadable } from "../payloadCodec.ts";
import { poolStatus } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { ApiDeps } from "./context.ts";
import { onceIn } from "./once.ts";
import { temporalCall } from "./temporalCall.ts";

const ANSWER_WITHIN_MS = 1000;
/** Each query costs the pool a workflow task. */
const KEPT_FOR_MS = 1000;

/** How a pool is, at most a second ago; undefined when there is none, or none that says so within a second. */
export type ReadPool = (gpuType: string) => Promise<PoolStatus | undefined>;

export function createReadPool({ client, log }: Pick<ApiDeps, "client" | "log">): ReadPool {
  return onceIn(KEPT_FOR_MS, async (gpuType) => {
    try {
      const query = () => client.workflow.getHandle(ids.pool(gpuType)).query(poolStatus);
      const status = await temporalCall(client, query, ANSWER_WITHIN_MS);
      return isUnreadable(status) ? undefined : status;
    } catch (error) {
      log.debug({ err: error, pool: gpuType }, "the pool does not answer");
      return undefined;
    }
  });
}

/** What a job that waits in a pool may expect. */
export async function outlookOf(readPool: ReadPool, gpuType: string, jobId: string): Promise<JobOutlook | undefined> {
  return (await readPool(gpuType))?.queue.find((job) => job.jobId === jobId);
}

export function waitingFields({ position, etaSeconds, waitingFor }: JobOutlook) {
  return { position, eta_seconds: etaSeconds, waiting_for: waitingFor };
}
