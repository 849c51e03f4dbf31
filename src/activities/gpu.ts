import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { nodeIsUp } from "../clients/comput3.ts";
import type { GpuUsage } from "../gpus/types.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import type { Ending, InstanceKey, LaunchRequest, Note, Paid } from "./instanceSource.ts";
import { createLedger, entryOf } from "./ledger.ts";
import { nodeUrlOf } from "./nodeUrls.ts";
import { createOwnNodes } from "./ownNodes.ts";
import { createRentedInstances } from "./rentedInstances.ts";
import type { EndedInstance } from "./types.ts";

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

const CHECK_TRIES = 3;

/** What is done to a paid instance. Every one of these may run twice, and finds what the first run did. */
export function createGpuActivities(deps: Pick<ActivityDeps, "client" | "comput3" | "config" | "store" | "metrics">) {
  const { config } = deps;
  const source = config.gpu.provider === "static" ? createOwnNodes(config) : createRentedInstances(deps);
  const ledger = createLedger(deps.store, deps.metrics);

  async function isUp(node: string, signal: AbortSignal): Promise<boolean> {
    return await nodeIsUp(nodeUrlOf(config, { node }), config.comput3.apiKey ?? "", signal);
  }

  return {
    /**
     * Rents an instance, effectively once: adopts the one that an earlier attempt launched. Refused launches
     * are tried again after `config.gpu.launchRetryMs`; then it gives up, and the caller stops what there may be.
     */
    async launchGpu(request: LaunchRequest & { gpuId: string }): Promise<Paid> {
      const signal = cancellationSignal();
      return await withHeartbeats(async () => {
        for (const retryMs of [...config.gpu.launchRetryMs, undefined]) {
          try {
            return await source.launch(request, signal);
          } catch (error) {
            signal.throwIfAborted();
            if (retryMs === undefined) throw ApplicationFailure.nonRetryable(messageOf(error), "LaunchFailed");
            log.warn("no instance yet", { ...request, error: messageOf(error), retryMs });
            await delay(retryMs, undefined, { signal });
          }
        }
        throw ApplicationFailure.nonRetryable("no launch was tried", "LaunchFailed");
      });
    },

    /** Waits until the node answers; not before it had `bootDelayMs` to boot. */
    async awaitGpuReady({ gpuId, node, bootDelayMs, readyBy }: NodeBoot): Promise<void> {
      const signal = cancellationSignal();
      await withHeartbeats(async () => {
        await delay(bootDelayMs, undefined, { signal });
        while (!(await isUp(node, signal))) {
          signal.throwIfAborted();
          if (Date.now() >= readyBy) {
            throw ApplicationFailure.nonRetryable(`node ${node} of ${gpuId} did not answer in time`, "NodeNotReady");
          }
          await delay(config.gpu.checkRetryMs, undefined, { signal });
        }
      });
    },

    /** Watches an instance until it is unhealthy or gone, and says why. Trouble of the control API says nothing. */
    async watchGpu(key: InstanceKey & { gpuId: string; workload: string; node: string }): Promise<{ reason: string }> {
      const signal = cancellationSignal();
      return await withHeartbeats(async () => {
        for (;;) {
          await delay(config.gpu.watchIntervalMs, undefined, { signal });
          if (!(await answersWithin(CHECK_TRIES, key.node, signal)))
            return { reason: `node ${key.node} does not answer` };
          if ((await source.isThere(key, signal)) === false)
            return { reason: `node ${key.node} is gone from the provider` };
        }
      });
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

  async function answersWithin(tries: number, node: string, signal: AbortSignal): Promise<boolean> {
    for (let tried = 0; tried < tries; tried += 1) {
      if (tried > 0) await delay(config.gpu.checkRetryMs, undefined, { signal });
      if (await isUp(node, signal)) return true;
    }
    return false;
  }
}

function isEnded(value: unknown): value is EndedInstance {
  return typeof value === "object" && value !== null && "workload" in value && "stoppedAt" in value;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
