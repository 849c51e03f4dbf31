import { poolStatus } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { ApiDeps } from "./context.ts";
import { onceIn } from "./once.ts";
import { temporalCall } from "./temporalCall.ts";

const ANSWER_WITHIN_MS = 1000;
/** Each query costs the pool a workflow task. */
const KEPT_FOR_MS = 1000;

/** The 1-based place of a job in the queue of a pool; undefined when the pool does not say so within a second. */
export type QueuePosition = (gpuType: string, jobId: string) => Promise<number | undefined>;

export function createQueuePosition({ client, log }: Pick<ApiDeps, "client" | "log">): QueuePosition {
  const queueOf = onceIn(KEPT_FOR_MS, async (gpuType) => {
    try {
      const query = () => client.workflow.getHandle(ids.pool(gpuType)).query(poolStatus);
      return (await temporalCall(client, query, ANSWER_WITHIN_MS)).queue;
    } catch (error) {
      log.debug({ err: error, pool: gpuType }, "the pool does not answer");
      return [];
    }
  });
  return async (gpuType, jobId) => {
    return (await queueOf(gpuType)).find((job) => job.jobId === jobId)?.position;
  };
}
