import { type WorkflowHandle, WorkflowNotFoundError } from "@temporalio/client";
import { ids } from "../../contracts/names.ts";
import { providerSeen } from "../../contracts/signals.ts";
import { providerSentences } from "../../gpus/provider.ts";
import type { JobOutlook, PoolStatus, ProviderStatus } from "../../gpus/types.ts";
import { isUnreadable } from "../../temporal/payloadCodec.ts";
import type { ApiDeps, Caller } from "../context.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { onceIn } from "../http/ttlCache.ts";
import type { QueueReports } from "./queueReports.ts";

const ANSWER_WITHIN_MS = 1000;
const KEPT_FOR_MS = 1000;
/** What is kept for longer is what was read of it. */
const LOOK_KEPT_FOR_MS = 250;

const NEUTRAL = "No GPU can be had at the moment; the job runs as soon as there is one again";

/** What a job may expect, and what is known of the provider. */
type Outlook = JobOutlook & { provider?: ProviderStatus };

/** How a pool is, about two seconds ago at most. */
export type PoolLook =
  | { is: "known"; status: PoolStatus }
  /** It does not run: it starts with the next job, or the reconciler starts it. */
  | { is: "absent" }
  /** It does not say so. `trouble`: nor can Temporal be asked whether there is such a pool. */
  | { is: "unknown"; trouble?: unknown };

export type ReadPool = (gpuType: string) => Promise<PoolLook>;

/** Nobody asks the pool itself: it is the busiest workflow of all, and Temporal refuses questions to it. */
export function createReadPool(
  { client, log }: Pick<ApiDeps, "client" | "log">,
  { pool: reportOf, isFresh }: QueueReports,
): ReadPool {
  return onceIn(LOOK_KEPT_FOR_MS, async (gpuType) => {
    try {
      const report = await reportOf(gpuType);
      if (report !== undefined && isFresh(report)) return { is: "known", status: report.status };
    } catch (error) {
      log.debug({ err: error, pool: gpuType }, "what the pool said of itself cannot be read");
    }
    return await whetherThere(client.workflow.getHandle(ids.pool(gpuType)));
  });

  async function whetherThere(pool: WorkflowHandle): Promise<PoolLook> {
    try {
      const { status } = await temporalCall(client, () => pool.describe(), ANSWER_WITHIN_MS);
      return { is: status.name === "RUNNING" ? "unknown" : "absent" };
    } catch (trouble) {
      return trouble instanceof WorkflowNotFoundError ? { is: "absent" } : { is: "unknown", trouble };
    }
  }
}

/** What is known of the provider: `trouble` is absent when all is well. */
export type ProviderLook = { isKnown: true; trouble?: ProviderStatus } | { isKnown: false };

/** What a pool knows of the provider, or the reconciler: the pools hear of it first, but there may be none. */
export type ReadProvider = () => Promise<ProviderLook>;

export function createReadProvider(
  { client, config, log }: Pick<ApiDeps, "client" | "config" | "log">,
  readPool: ReadPool,
): ReadProvider {
  const readOnce = onceIn(KEPT_FOR_MS, async (): Promise<ProviderLook> => {
    const pools = Promise.all(Object.keys(config.gpu.pools).map(readPool));
    const [looks, seen] = await Promise.all([pools, askReconciler()]);
    const told = looks.flatMap((look) => (look.is === "known" ? [look.status] : []));
    const trouble = told.find(({ provider }) => provider !== undefined)?.provider;
    if (trouble !== undefined) return { isKnown: true, trouble };
    return seen.isKnown ? seen : told.length > 0 ? { isKnown: true } : { isKnown: false };
  });
  return () => readOnce("");

  async function askReconciler(): Promise<ProviderLook> {
    try {
      const query = () => client.workflow.getHandle(ids.reconciler).query(providerSeen);
      const seen = await temporalCall(client, query, ANSWER_WITHIN_MS);
      if (isUnreadable(seen)) return { isKnown: false };
      return { isKnown: true, ...(seen.provider && { trouble: seen.provider }) };
    } catch (error) {
      log.debug({ err: error }, "the reconciler does not answer");
      return { isKnown: false };
    }
  }
}

/** What a job that waits in a pool may expect; undefined when that is not known. */
export async function outlookOf(readPool: ReadPool, gpuType: string, jobId: string): Promise<Outlook | undefined> {
  const look = await readPool(gpuType);
  if (look.is !== "known") return undefined;
  const { queue, provider } = look.status;
  const job = queue.find((one) => one.jobId === jobId);
  return job && { ...job, ...(provider && { provider }) };
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
