import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import type { Workload } from "../clients/comput3.ts";
import { readPoolOverrides } from "../storage/poolOverrides.ts";
import { ids } from "../workflows/names.ts";
import type { ActivityDeps } from "./deps.ts";
import type { Ending, InstanceKey, InstanceSource, LaunchRequest, Paid } from "./instanceSource.ts";
import { endOf } from "./ledger.ts";
import { limitsOf, startRetirement } from "./starts.ts";
import type { EndedInstance } from "./types.ts";

/** How long a stopped instance may still be listed before the stop counts as failed. */
const CONFIRM_MS = 60_000;

/** Instances that are rented from Comput3, and paid for by the second. */
export function createRentedInstances({
  client,
  comput3,
  config,
  store,
}: Pick<ActivityDeps, "client" | "comput3" | "config" | "store">): InstanceSource {
  async function instancesOf({ type, expires }: InstanceKey, signal: AbortSignal): Promise<Workload[]> {
    const running = await comput3.runningWorkloads(signal);
    return running.filter((workload) => workload.type === type && workload.expires === expires);
  }

  /** A reply to a launch that came too late leaves a second instance behind: only `kept` is ours to use. */
  async function stopOthers(key: InstanceKey, kept: string, signal: AbortSignal): Promise<Workload | undefined> {
    const instances = await instancesOf(key, signal);
    for (const { workload, node, created } of instances.filter((instance) => instance.workload !== kept)) {
      const { type, expires } = key;
      const instance = { workload, node, created };
      const first = await startRetirement(client, { gpuId: ids.gpu(type, expires), type, expires, instance });
      if (first) log.warn("stopping a second instance of one launch", { ...key, workload, node, kept });
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

  async function stopAll({ only, ...key }: Ending, ended: Ended, signal: AbortSignal): Promise<void> {
    const giveUpAt = Date.now() + CONFIRM_MS;
    for (let round = 0; ; round += 1) {
      if (round > 1) await delay(config.gpu.checkRetryMs, undefined, { signal });
      try {
        const instances = await instancesOf(key, signal);
        const wanted = instances.filter(({ workload }) => only === undefined || workload === only);
        if (wanted.length === 0) return;
        for (const instance of wanted) await stop(instance, ended, signal);
        if (Date.now() > giveUpAt) throw new Error(`${wanted.length} instances still run`);
      } catch (error) {
        signal.throwIfAborted();
        if (Date.now() > giveUpAt) throw ApplicationFailure.retryable(messageOf(error), "StillRunning");
        log.warn("not seen to be stopped yet", { ...key, error: messageOf(error) });
      }
    }
  }

  async function stop({ workload, node, created }: Workload, ended: Ended, signal: AbortSignal): Promise<void> {
    const instance = { workload, node, created };
    // Should the answer get lost, this is when it ended.
    if (ended.get(workload)?.refundAmount === undefined) ended.add(endOf(instance, {}));
    const stopped = await comput3.stop(workload, signal);
    if (stopped.stopped !== undefined) ended.add(endOf(instance, stopped));
    log.info("instance stopped", { workload, node, refundAmount: stopped.refundAmount });
  }

  async function end(ending: Ending, note: (ended: EndedInstance[]) => void, signal: AbortSignal) {
    const { own, expires, before } = ending;
    const ended = collect(before, note);
    try {
      await stopAll(ending, ended, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (Date.now() < expires * 1000) throw error;
      log.warn("instance not seen to be gone, but past its end", { expires, error: messageOf(error) });
    }
    if (own !== undefined && ended.get(own.workload) === undefined) {
      ended.add({ ...own, stoppedAt: Math.min(Date.now(), expires * 1000) });
    }
    return ended.all();
  }

  return { launch, isThere, end };
}

/** What has ended so far, by workload. */
type Ended = ReturnType<typeof collect>;

function collect(before: readonly EndedInstance[], note: (ended: EndedInstance[]) => void) {
  const ended = new Map(before.map((instance) => [instance.workload, instance]));
  return {
    get: (workload: string) => ended.get(workload),
    add(instance: EndedInstance): void {
      ended.set(instance.workload, instance);
      note([...ended.values()]);
    },
    all: () => [...ended.values()],
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
