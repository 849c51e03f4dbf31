import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, activityInfo, cancellationSignal } from "@temporalio/activity";
import type { EndedInstance } from "../../contracts/activityTypes.ts";
import type { GpuUsage } from "../../gpus/types.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { withHeartbeats } from "../support/heartbeats.ts";
import { createRentedInstances } from "./comput3Provider.ts";
import type { Ending, InstanceKey, LaunchRequest, Note, Paid } from "./instanceProvider.ts";
import { launch } from "./launch.ts";
import { createNodeHealth } from "./nodeHealth.ts";
import { createOwnNodes } from "./staticProvider.ts";
import { createLedger, entryOf } from "./usageLedger.ts";

interface NodeBoot {
  gpuId: string;
  node: string;
  bootDelayMs: number;
  /** Epoch milliseconds. */
  readyBy: number;
}

export interface StopResult {
  ended: EndedInstance[];
}

interface LedgerInput {
  gpuId: string;
  type: string;
  ended: EndedInstance[];
  /** Of the instance that was used. */
  usage?: GpuUsage;
}

/** What is done to a paid instance. Every one of these may run twice, and finds what the first run did. */
export function createGpuActivities(deps: Omit<ActivityDeps, "safeFetch" | "media" | "modal">) {
  const { config, provider } = deps;
  const source = config.gpu.provider === "static" ? createOwnNodes(config) : createRentedInstances(deps);
  const health = createNodeHealth({ config, source });
  const ledger = createLedger(deps.store, deps.metrics);

  return {
    /**
     * Rents an instance, effectively once: adopts the one that an earlier attempt launched. Refused launches
     * are tried again after `config.gpu.launchRetryMs`; then it gives up, and the caller stops what there may be.
     * @throws with a `LaunchEnd`
     */
    async launchGpu(request: LaunchRequest & { gpuId: string }): Promise<Paid> {
      const signal = cancellationSignal();
      return await withHeartbeats(() => launch(request, { config, source, provider }, signal));
    },

    /** Waits until the node answers; not before it had `bootDelayMs` to boot. */
    async awaitGpuReady({ gpuId, node, bootDelayMs, readyBy }: NodeBoot): Promise<void> {
      const signal = cancellationSignal();
      await withHeartbeats(async () => {
        await delay(bootDelayMs, undefined, { signal });
        if (await health.awaitUp(node, readyBy, signal)) return;
        throw ApplicationFailure.nonRetryable(`node ${node} of ${gpuId} did not answer in time`, "NodeNotReady");
      });
    },

    /** Watches an instance until it is unhealthy or gone, and says why. Trouble of the control API says nothing. */
    async watchGpu(key: InstanceKey & { gpuId: string; workload: string; node: string }): Promise<{ reason: string }> {
      const { node } = key;
      const signal = cancellationSignal();
      const isGone = async () => ((await source.isThere(key, signal)) === false ? gone(node) : undefined);
      return { reason: await withHeartbeats(() => health.watch(node, signal, isGone)) };
    },

    /**
     * Stops every instance of this key, or only one, and sees that none is left. Fails, to be tried again, until the provider
     * shows none any more, or until `expires`, when the provider has ended it by itself.
     */
    async stopGpu({ gpuId: _, ...ending }: Omit<Ending, "before"> & { gpuId: string }): Promise<StopResult> {
      const signal = cancellationSignal();
      const details: unknown = activityInfo().heartbeatDetails;
      const before = isEnded(details) ? { before: details } : {};
      const end = (note: Note) => source.end({ ...ending, ...before }, note, signal);
      const ended = await withHeartbeats<EndedInstance | undefined, EndedInstance>(end);
      return { ended: ended === undefined ? [] : [ended] };
    },

    /** Writes down what instances cost, one entry for each that was paid for. */
    async writeLedger({ gpuId, type, ended, usage }: LedgerInput): Promise<void> {
      for (const instance of ended) {
        const own = usage?.paidFrom === instance.created * 1000 ? usage : undefined;
        await ledger.write(entryOf({ gpuId, type, instance, usage: own, ratePerHour: rateOf(type) }));
      }
    },
  };

  function rateOf(type: string): number | undefined {
    return config.gpu.pools[type]?.rate;
  }
}

function gone(node: string): string {
  return `node ${node} is gone from the provider`;
}

function isEnded(value: unknown): value is EndedInstance {
  return typeof value === "object" && value !== null && "workload" in value && "stoppedAt" in value;
}
