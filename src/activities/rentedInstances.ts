import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import type { Workload } from "../clients/comput3.ts";
import { readPoolOverrides } from "../storage/poolOverrides.ts";
import { ids } from "../workflows/names.ts";
import type { ActivityDeps } from "./deps.ts";
import type { InstanceKey, InstanceSource, LaunchRequest, Paid } from "./instanceSource.ts";
import { createLedger, endOf, entryOf } from "./ledger.ts";
import { limitsOf } from "./starts.ts";
import type { EndedInstance } from "./types.ts";

/** How long a stopped instance may still be listed before the stop counts as failed. */
const CONFIRM_MS = 60_000;

/** Instances that are rented from Comput3, and paid for by the second. */
export function createRentedInstances(
  deps: Pick<ActivityDeps, "comput3" | "config" | "store" | "metrics">,
): InstanceSource {
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
      const entry = {
        gpuId: ids.gpu(type, expires),
        type,
        instance,
        usage: undefined,
        ratePerHour: config.gpu.pools[type]?.rate,
      };
      await ledger.write(entryOf(entry)).catch((error: unknown) => {
        log.error("a second instance could not be written down", { workload, error: messageOf(error) });
      });
    }
    return instances.find((instance) => instance.workload === kept);
  }

  async function launch(key: LaunchRequest, signal: AbortSignal): Promise<Paid> {
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

  async function isThere(key: InstanceKey & { workload: string }, signal: AbortSignal): Promise<boolean | undefined> {
    try {
      return (await stopOthers(key, key.workload, signal)) !== undefined;
    } catch (error) {
      signal.throwIfAborted();
      log.warn("the provider's list could not be read", { workload: key.workload, error: messageOf(error) });
      return undefined;
    }
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

  async function end(key: InstanceKey, own: Paid | undefined, signal: AbortSignal): Promise<EndedInstance[]> {
    const ended = new Map<string, EndedInstance>();
    try {
      await stopAll(ids.gpu(key.type, key.expires), key, ended, signal);
    } catch (error) {
      if (Date.now() < key.expires * 1000) throw error;
      log.warn("instance not seen to be gone, but past its end", { ...key, error: messageOf(error) });
    }
    if (own !== undefined && !ended.has(own.workload)) {
      ended.set(own.workload, { ...own, stoppedAt: Math.min(Date.now(), key.expires * 1000) });
    }
    return [...ended.values()];
  }

  return { launch, isThere, end };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
