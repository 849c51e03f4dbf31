import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, cancellationSignal, log } from "@temporalio/activity";
import { nodeIsUp, type Workload } from "../clients/comput3.ts";
import type { GpuUsage } from "../gpus/types.ts";
import { readPoolOverrides } from "../storage/poolOverrides.ts";
import { ids } from "../workflows/names.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { createLedger, endOf, entryOf } from "./ledger.ts";
import { limitsOf } from "./starts.ts";
import type { EndedInstance } from "./types.ts";

/** What identifies an instance at the provider, from before it exists: the launch API knows no other mark. */
interface InstanceKey {
  type: string;
  /** Epoch seconds. */
  expires: number;
}

interface NodeBoot {
  gpuId: string;
  node: string;
  bootDelayMs: number;
  /** Epoch milliseconds. */
  readyBy: number;
}

/** An instance from the moment on that it is paid for. */
interface Paid {
  workload: string;
  node: string;
  /** Epoch seconds. */
  created: number;
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
/** How long a stopped instance may still be listed before the stop counts as failed. */
const CONFIRM_MS = 60_000;

/** What is done to a paid instance. Every one of these may run twice, and finds what the first run did. */
export function createGpuActivities(deps: Pick<ActivityDeps, "comput3" | "config" | "store" | "metrics">) {
  const { comput3, config, store } = deps;
  const ledger = createLedger(store, deps.metrics);

  async function instancesOf({ type, expires }: InstanceKey, signal: AbortSignal): Promise<Workload[]> {
    const running = await comput3.runningWorkloads(signal);
    return running.filter((workload) => workload.type === type && workload.expires === expires);
  }

  /** A reply to a launch that came too late leaves a second instance behind: only `kept` is ours to use. */
  async function stopOthers(key: InstanceKey, kept: string, signal: AbortSignal): Promise<Workload | undefined> {
    const instances = await instancesOf(key, signal);
    for (const { workload, node, created } of instances.filter((instance) => instance.workload !== kept)) {
      log.warn("stopping a second instance of one launch", { ...key, workload, node, kept });
      const instance = endOf({ workload, node, created }, await comput3.stop(workload, signal));
      const { type, expires } = key;
      const entry = { gpuId: ids.gpu(type, expires), type, instance, usage: undefined, ratePerHour: rateOf(type) };
      await ledger.write(entryOf(entry)).catch((error: unknown) => {
        log.error("a second instance could not be written down", { workload, error: messageOf(error) });
      });
    }
    return instances.find((instance) => instance.workload === kept);
  }

  async function isUp(node: string, signal: AbortSignal): Promise<boolean> {
    const { apiKey = "", nodeUrlTemplate } = config.comput3;
    return await nodeIsUp(nodeUrlTemplate.replace("{node}", node), apiKey, signal);
  }

  return {
    /**
     * Rents an instance, effectively once: adopts the one that an earlier attempt launched. Refused launches
     * are tried again after `config.gpu.launchRetryMs`; then it gives up, and the caller stops what there may be.
     */
    async launchGpu(key: InstanceKey & { gpuId: string; launchedAfter: number }): Promise<Paid> {
      const signal = cancellationSignal();
      return await withHeartbeats(async () => {
        for (const retryMs of [...config.gpu.launchRetryMs, undefined]) {
          try {
            return await launchOnce(key, signal);
          } catch (error) {
            signal.throwIfAborted();
            if (retryMs === undefined) throw ApplicationFailure.nonRetryable(messageOf(error), "LaunchFailed");
            log.warn("no instance yet", { ...key, error: messageOf(error), retryMs });
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
          if ((await isListed(key, signal)) === false) return { reason: `node ${key.node} is gone from the provider` };
        }
      });
    },

    /**
     * Stops every instance of this key and sees that none is left. Fails, to be tried again, until the provider
     * shows none any more, or until `expires`, when the provider has ended it by itself.
     * @param own the one that was used, which may be gone already
     */
    async stopGpu({ gpuId, own, ...key }: InstanceKey & { gpuId: string; own?: Paid }): Promise<StopResult> {
      const signal = cancellationSignal();
      const ended = new Map<string, EndedInstance>();
      try {
        await stopAll(gpuId, key, ended, signal);
      } catch (error) {
        if (Date.now() < key.expires * 1000) throw error;
        log.warn("instance not seen to be gone, but past its end", { gpuId, error: messageOf(error) });
      }
      if (own !== undefined && !ended.has(own.workload)) {
        ended.set(own.workload, { ...own, stoppedAt: Math.min(Date.now(), key.expires * 1000) });
      }
      return { ended: [...ended.values()] };
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

  async function stopAll(
    gpuId: string,
    key: InstanceKey,
    ended: Map<string, EndedInstance>,
    signal: AbortSignal,
  ): Promise<void> {
    const giveUpAt = Date.now() + CONFIRM_MS;
    for (let round = 0; ; round += 1) {
      const instances = await instancesOf(key, signal);
      if (instances.length === 0) return;
      if (Date.now() > giveUpAt) {
        throw ApplicationFailure.retryable(`${instances.length} instances still run`, "StillRunning");
      }
      if (round > 1) await delay(config.gpu.checkRetryMs, undefined, { signal });
      for (const { workload, node, created } of instances) {
        const stopped = await comput3.stop(workload, signal);
        const known = ended.get(workload);
        ended.set(workload, { ...known, ...endOf({ workload, node, created }, stopped) });
        log.info("instance stopped", { gpuId, workload, node, refundAmount: stopped.refundAmount });
      }
    }
  }

  async function launchOnce(key: InstanceKey & { gpuId: string; launchedAfter: number }, signal: AbortSignal) {
    const running = await comput3.runningWorkloads(signal);
    const ours = running.filter((workload) => workload.type === key.type && workload.expires === key.expires);
    // The provider counts whole seconds.
    const adopted = ours.find((workload) => workload.created * 1000 >= key.launchedAfter - 1000);
    const { max } = limitsOf(config.gpu.pools[key.type], await readPoolOverrides(store, key.type));
    if (adopted === undefined && running.filter(({ type }) => type === key.type).length >= max) {
      throw new Error(`there are already ${max} instances of ${key.type}`);
    }
    const launched = adopted ?? (await comput3.launch({ type: key.type, expires: key.expires }, signal));
    log.info(adopted === undefined ? "instance launched" : "instance adopted", { ...key, ...launched });
    const listed = await stopOthers(key, launched.workload, signal);
    const created = listed?.created ?? Math.floor(Date.now() / 1000);
    return { workload: launched.workload, node: launched.node, created };
  }

  async function answersWithin(tries: number, node: string, signal: AbortSignal): Promise<boolean> {
    for (let tried = 0; tried < tries; tried += 1) {
      if (tried > 0) await delay(config.gpu.checkRetryMs, undefined, { signal });
      if (await isUp(node, signal)) return true;
    }
    return false;
  }

  /** Undefined when the provider does not say. */
  async function isListed(key: InstanceKey & { workload: string }, signal: AbortSignal): Promise<boolean | undefined> {
    try {
      return (await stopOthers(key, key.workload, signal)) !== undefined;
    } catch (error) {
      signal.throwIfAborted();
      log.warn("the provider's list could not be read", { workload: key.workload, error: messageOf(error) });
      return undefined;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
