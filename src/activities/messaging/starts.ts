import { type Client, WorkflowExecutionAlreadyStartedError } from "@temporalio/client";
import type { Config, PoolConfig } from "../../config/index.ts";
import { ids, taskQueues } from "../../contracts/names.ts";
import { censusWanted } from "../../contracts/signals.ts";
import type { PoolLimits } from "../../gpus/types.ts";
import type { PoolOverrides } from "../../storage/poolOverrides.ts";
import type { GpuSettings } from "../../workflows/gpuManager.ts";
import type { PoolSettings } from "../../workflows/gpuPool.ts";
import type { reconcileGpus } from "../../workflows/reconcileGpus.ts";
import type { Retirement, retireInstance } from "../../workflows/retireInstance.ts";

/** Longer than anything lives, and what timers can still be set to. */
const FOREVER_MS = 10 * 365 * 86_400_000;

/** What a pool is started with. */
export function poolSettings(config: Config, gpuType: string): PoolSettings {
  const { preLaunchMs, lifetimeMs, poolLingerMs: lingerMs, pools, idlePolicy, idleTimeoutMs } = config.gpu;
  const limits = limitsOf(pools[gpuType]);
  if (config.gpu.provider === "static") {
    return { limits, preLaunchMs: { min: 0, max: 0 }, lifetimeMs: FOREVER_MS, lingerMs };
  }
  const adaptive = idlePolicy === "adaptive" ? { adaptiveIdleMs: idleTimeoutMs } : {};
  return { limits, preLaunchMs, lifetimeMs, lingerMs, ...adaptive };
}

/**
 * What a manager is started with. A node of one's own is there or not: it need not boot, and is never stopped,
 * neither for being idle nor for its age.
 */
export function managerSettings(config: Config, gpuType: string): GpuSettings {
  const { bootDelayMs, readyTimeoutMs, idleTimeoutMs, replaceAfterMs, leaseTimeoutMs, pools } = config.gpu;
  const ratePerHour = pools[gpuType]?.rate;
  const isOwn = config.gpu.provider === "static";
  return {
    bootDelayMs: isOwn ? 0 : bootDelayMs,
    readyTimeoutMs: isOwn ? 0 : readyTimeoutMs,
    idleTimeoutMs: isOwn ? FOREVER_MS : idleTimeoutMs,
    replaceAfterMs: isOwn ? FOREVER_MS : replaceAfterMs,
    leaseTimeoutMs,
    ...(ratePerHour !== undefined && { ratePerHour }),
  };
}

/** The limits of a pool; a type that is not configured has none of its own. */
export function limitsOf(pool: PoolConfig | undefined, overrides: PoolOverrides = {}): PoolLimits {
  return { min: overrides.min ?? pool?.min ?? 0, max: overrides.max ?? pool?.max ?? 0 };
}

/**
 * Sees to the end of an instance that no manager ends, by a workflow of its own, so that neither the stop nor what
 * was paid gets lost on the way. It is asked for at every look, and happens once.
 * @returns whether this was the first time
 */
export async function startRetirement(client: Client, retirement: Retirement): Promise<boolean> {
  try {
    await client.workflow.start<typeof retireInstance>("retireInstance", {
      workflowId: ids.retirement(retirement.instance.workload),
      workflowIdReusePolicy: "ALLOW_DUPLICATE_FAILED_ONLY",
      taskQueue: taskQueues.main,
      args: [retirement],
      staticSummary: `stop an instance of ${retirement.gpuId}, and write down what it cost`,
    });
    return true;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
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
