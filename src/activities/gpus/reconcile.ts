import { activityInfo } from "@temporalio/activity";
import type { Client } from "@temporalio/client";
import type { Comput3 } from "../../clients/comput3.ts";
import type { Config } from "../../config/index.ts";
import type { PoolStatus, ProviderReport, ProviderTrouble } from "../../gpus/types.ts";
import type { StoredJob } from "../../jobs/job.ts";
import type { Metrics } from "../../process/metrics.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";
import type { createSignals } from "../messaging/signals.ts";
import { withHeartbeats } from "../support/heartbeats.ts";
import type { Provider } from "./provider.ts";
import { createInstanceHealing } from "./reconcile/instances.ts";
import { LIST_LAG_MS, type OpenJobs, openJobs, openManagers } from "./reconcile/listed.ts";
import { createPoolInforming } from "./reconcile/pools.ts";
import { createTerminatedJobs } from "./reconcile/terminatedJobs.ts";

interface ReconcilerDeps {
  client: Client;
  comput3: Comput3;
  provider: Provider;
  config: Config;
  signals: ReturnType<typeof createSignals>;
  removeInputs: (input: { jobId: string }) => Promise<void>;
  keepRecord: (record: StoredJob) => Promise<void>;
  store: ObjectStore;
  metrics: Metrics;
}

export interface ReconcileReport {
  summary: string;
  /** How the provider was found, `{}` if well; absent where nothing is rented. */
  provider?: { trouble?: ProviderTrouble };
}

/**
 * One look at everything: what the provider runs, which managers, pools and jobs are open. Sees to
 * the end of instances whose manager has ended, tells each pool what it missed, and notifies the callers of terminated jobs.
 */
export function createReconcile(deps: ReconcilerDeps) {
  const { client, provider, config, metrics } = deps;
  const { healInstances, settleEndedManagers } = createInstanceHealing(deps);
  const { informPools, reportElsewhere } = createPoolInforming(deps);
  const { notifyTerminated } = createTerminatedJobs(deps);

  return {
    /** @param since epoch milliseconds of the last look */
    reconcile: ({ since }: { since: number }): Promise<ReconcileReport> => withHeartbeats(() => look(since)),
  };

  async function look(since: number): Promise<ReconcileReport> {
    // Pools compare it with their own times, which are Temporal's.
    const at = activityInfo().currentAttemptScheduledTimestampMs;
    const managers = await openManagers(client);
    const { jobs, queued } = await openJobs(client);
    // None waits for another: the provider may not answer, nor the object store.
    const [{ running, foreign, trouble: listTrouble }, notified, keyTrouble, pools] = await Promise.all([
      healInstances(new Set(managers.map((gpu) => gpu.gpuId))),
      notifyTerminated(since - LIST_LAG_MS),
      provider.check(),
      informPools(at, managers, jobs),
      settleEndedManagers(since - LIST_LAG_MS),
    ]);
    const trouble = keyTrouble ?? listTrouble;
    await tellOfProvider({ at, ...(trouble && { trouble }) }, pools);
    await reportElsewhere(at, queued, pools);
    metrics.seen({ gpus: managers, waiting: countsOf(jobs), openJobs: jobs.size, foreign });
    const summary = `${running} instances, ${managers.length} managers, ${jobs.size} open jobs, ${notified} terminated jobs notified`;
    return { summary, ...(config.gpu.provider !== "static" && { provider: { ...(trouble && { trouble }) } }) };
  }

  /** Those that know nothing against it need not be told that all is well. */
  async function tellOfProvider(found: ProviderReport, pools: readonly PoolStatus[]): Promise<void> {
    const concerned = pools.filter((pool) => found.trouble !== undefined || pool.provider !== undefined);
    for (const { type } of concerned) await provider.report(type, found);
  }
}

function countsOf(jobs: OpenJobs): Map<string, number> {
  const counts = new Map<string, number>();
  for (const wish of jobs.values()) {
    if (wish !== undefined) counts.set(wish.gpuType, (counts.get(wish.gpuType) ?? 0) + 1);
  }
  return counts;
}
