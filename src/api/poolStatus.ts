import { providerSentences } from "../gpus/provider.ts";
import type { JobOutlook, PoolStatus, ProviderStatus } from "../gpus/types.ts";
import { isUnreadable } from "../payloadCodec.ts";
import { poolStatus, providerSeen } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { ApiDeps, Caller } from "./context.ts";
import { onceIn } from "./once.ts";
import { temporalCall } from "./temporalCall.ts";

const ANSWER_WITHIN_MS = 1000;
/** Each query costs the pool a workflow task. */
const KEPT_FOR_MS = 1000;

const NEUTRAL = "No GPU can be had at the moment; the job runs as soon as there is one again";

/** What a job may expect, and what is known of the provider. */
type Outlook = JobOutlook & { provider?: ProviderStatus };

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

/** What a pool knows of the provider, or the reconciler: the pools hear of it first, but there may be none. */
export type ReadProvider = () => Promise<ProviderStatus | undefined>;

export function createReadProvider(
  { client, config, log }: Pick<ApiDeps, "client" | "config" | "log">,
  readPool: ReadPool,
) {
  const readOnce = onceIn(KEPT_FOR_MS, async () => {
    const pools = Promise.all(Object.keys(config.gpu.pools).map(readPool));
    const [told, seen] = await Promise.all([pools, askReconciler()]);
    return told.find((pool) => pool?.provider !== undefined)?.provider ?? seen;
  });
  return (): Promise<ProviderStatus | undefined> => readOnce("");

  async function askReconciler(): Promise<ProviderStatus | undefined> {
    try {
      const query = () => client.workflow.getHandle(ids.reconciler).query(providerSeen);
      const seen = await temporalCall(client, query, ANSWER_WITHIN_MS);
      return isUnreadable(seen) ? undefined : seen.provider;
    } catch (error) {
      log.debug({ err: error }, "the reconciler does not answer");
      return undefined;
    }
  }
}

/** What a job that waits in a pool may expect. */
export async function outlookOf(readPool: ReadPool, gpuType: string, jobId: string): Promise<Outlook | undefined> {
  const pool = await readPool(gpuType);
  const job = pool?.queue.find((one) => one.jobId === jobId);
  return job && { ...job, ...(pool?.provider && { provider: pool.provider }) };
}

/** Only administrators are told what the provider said. */
export function waitingFields({ position, etaSeconds, waitingFor, provider }: Outlook, { admin }: Caller) {
  const reason = admin && provider ? `${providerSentences[provider.state]}: ${provider.reason}` : NEUTRAL;
  return {
    position,
    eta_seconds: etaSeconds,
    waiting_for: waitingFor,
    ...(waitingFor === "provider_unavailable" && { waiting_reason: reason }),
  };
}
