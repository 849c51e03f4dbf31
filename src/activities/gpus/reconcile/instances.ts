import { log } from "@temporalio/activity";
import type { Client } from "@temporalio/client";
import type { Comput3, Workload } from "../../../clients/comput3.ts";
import type { Config } from "../../../config/index.ts";
import { ids } from "../../../contracts/names.ts";
import type { Assignment, ProviderTrouble } from "../../../gpus/types.ts";
import type { Metrics } from "../../../process/metrics.ts";
import { isLatestRun } from "../../../temporal/latestRun.ts";
import type { Retirement } from "../../../workflows/retireInstance.ts";
import type { createSignals } from "../../messaging/signals.ts";
import { startRetirement } from "../../messaging/starts.ts";
import { troubleOf } from "../provider.ts";
import { describe, endedByForce, isGpuView } from "./listed.ts";

/** What the provider runs; none of it, with the reason, when it did not say. */
interface Found {
  running: number;
  foreign: number;
  trouble?: ProviderTrouble | undefined;
}

interface Deps {
  client: Client;
  comput3: Comput3;
  config: Config;
  signals: ReturnType<typeof createSignals>;
  metrics: Metrics;
}

/** Sees to the end of instances whose manager has ended. */
export function createInstanceHealing({ client, comput3, config, signals, metrics }: Deps) {
  return { healInstances, settleEndedManagers };

  async function healInstances(managed: ReadonlySet<string>): Promise<Found> {
    if (config.gpu.provider === "static") return { running: managed.size, foreign: 0 };
    let instances: Workload[];
    try {
      instances = await comput3.runningWorkloads();
    } catch (error) {
      log.warn("the provider's list could not be read", { error: String(error) });
      return { running: 0, foreign: 0, trouble: troubleOf(error) };
    }
    let foreign = 0;
    for (const instance of instances) {
      const gpuId = ids.gpu(instance.type, instance.expires);
      if (managed.has(gpuId)) continue;
      try {
        if (!(await healInstance(instance))) foreign += 1;
      } catch (error) {
        // The next look tries again; pools and jobs must not wait for it.
        log.error("an instance could not be healed", { gpuId, workload: instance.workload, error: String(error) });
      }
    }
    return { running: instances.length, foreign };
  }

  /** Stops an instance whose manager has ended. @returns false when no manager ever launched it */
  async function healInstance({ workload, node, type, created, expires }: Workload): Promise<boolean> {
    const gpuId = ids.gpu(type, expires);
    const manager = await describe(client, gpuId);
    if (manager === undefined) {
      log.warn("an instance that is not ours; it is left alone", { workload, node, type, expires });
      return false;
    }
    if (manager.status.name === "RUNNING") return true;
    const view = isGpuView(manager.memo?.gpu) ? manager.memo.gpu : undefined;
    await tellHolder(view?.lease);
    const usage = view?.usage;
    await retire({ gpuId, type, expires, instance: { workload, node, created }, ...(usage && { usage }) });
    return true;
  }

  async function tellHolder(lease: Assignment | undefined): Promise<void> {
    if (lease === undefined) return;
    const reason = "the manager of its GPU was ended";
    await signals.reportLoss({ ...lease, reason, nodeFault: false, at: Date.now() });
  }

  /** A manager that was ended in the middle of its instance's end has written nothing down. */
  async function settleEndedManagers(since: number): Promise<void> {
    const query = `WorkflowType = 'gpuManager' AND ${endedByForce} AND CloseTime > '${new Date(since).toISOString()}'`;
    for await (const run of client.workflow.list({ query })) {
      const { memo } = run;
      if (!isGpuView(memo?.gpu) || config.gpu.provider === "static") continue;
      const { gpuId, type, expiresAt, state, workload, node, usage, lease } = memo.gpu;
      if (state === "stopped" || workload === undefined || node === undefined || usage === undefined) continue;
      if (!(await isLatestRun(client, run))) continue;
      const instance = { workload, node, created: usage.paidFrom / 1000 };
      if (await retire({ gpuId, type, expires: expiresAt / 1000, instance, usage })) await tellHolder(lease);
    }
  }

  /** @returns whether this was the first time */
  async function retire(retirement: Retirement): Promise<boolean> {
    const { gpuId, instance } = retirement;
    const first = await startRetirement(client, retirement);
    if (!first) return false;
    log.warn("ending an instance whose manager had ended", { gpuId, ...instance });
    metrics.orphanStopped();
    return true;
  }
}
