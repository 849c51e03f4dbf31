import type { Client } from "@temporalio/client";
import type { Config, PoolConfig } from "../config.ts";
import type { PoolLimits } from "../gpus/types.ts";
import type { PoolOverrides } from "../storage/poolOverrides.ts";
import type { PoolSettings } from "../workflows/gpuPool.ts";
import { censusWanted } from "../workflows/messages.ts";
import { ids, taskQueues } from "../workflows/names.ts";
import type { reconcileGpus } from "../workflows/reconcileGpus.ts";

/** What a pool is started with. */
export function poolSettings(config: Config, gpuType: string): PoolSettings {
  const { preLaunchMs, lifetimeMs, poolLingerMs: lingerMs, pools } = config.gpu;
  return { limits: limitsOf(pools[gpuType]), preLaunchMs, lifetimeMs, lingerMs };
}

/** The limits of a pool; a type that is not configured has none of its own. */
export function limitsOf(pool: PoolConfig | undefined, overrides: PoolOverrides = {}): PoolLimits {
  return { min: overrides.min ?? pool?.min ?? 0, max: overrides.max ?? pool?.max ?? 0 };
}

/** Makes the reconciler look now; starts it if it is not there. */
export async function startReconciler(client: Client, config: Config): Promise<void> {
  await client.workflow.signalWithStart<typeof reconcileGpus, []>("reconcileGpus", {
    workflowId: ids.reconciler,
    taskQueue: taskQueues.main,
    args: [{ intervalMs: config.gpu.reconcileIntervalMs }],
    signal: censusWanted,
    signalArgs: [],
    staticSummary: "compares what is paid for with what is managed, every minute",
  });
}
