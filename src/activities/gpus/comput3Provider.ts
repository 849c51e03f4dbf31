import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import { Comput3Error, type Workload } from "../../clients/comput3.ts";
import type { EndedInstance } from "../../contracts/activityTypes.ts";
import { ids } from "../../contracts/names.ts";
import { messageOf } from "../../lib/text.ts";
import { watchLoop } from "../../process/loopTime.ts";
import { readPoolOverrides } from "../../storage/poolOverrides.ts";
import { limitsOf, startRetirement } from "../messaging/starts.ts";
import type { ActivityDeps } from "../support/deps.ts";
import type { Ending, InstanceKey, InstanceSource, LaunchRequest, Note, Paid } from "./instanceProvider.ts";
import { endOf } from "./usageLedger.ts";

/** How long a stopped instance may still be listed before the stop counts as failed. */
const CONFIRM_MS = 60_000;
/** Whether the provider's API answers at all is asked to judge a node, while a job may wait for the verdict. */
const ANSWER_WITHIN_MS = 5000;
const REQUEST_TIMEOUT = 408;

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

  async function retire({ workload, node, created, type, expires }: Workload): Promise<void> {
    const instance = { workload, node, created };
    const first = await startRetirement(client, { gpuId: ids.gpu(type, expires), type, expires, instance });
    if (first) log.warn("stopping an instance that nobody uses", { type, expires, workload, node });
  }

  /** A reply to a launch that came too late leaves a second instance behind: only `kept` is ours to use. */
  async function stopOthers(key: InstanceKey, kept: string, signal: AbortSignal): Promise<Workload | undefined> {
    const instances = await instancesOf(key, signal);
    for (const instance of instances.filter(({ workload }) => workload !== kept)) await retire(instance);
    return instances.find((instance) => instance.workload === kept);
  }

  async function rent(
    { type, expires }: InstanceKey,
    signal: AbortSignal,
    maybe: (isThere: boolean) => void,
  ): Promise<Pick<Paid, "workload" | "node">> {
    maybe(true);
    try {
      return await comput3.launch({ type, expires }, signal);
    } catch (error) {
      // Whatever else went wrong, an instance may have come of it.
      const { status = 0 } = error instanceof Comput3Error ? error : {};
      if (status >= 400 && status < 500 && status !== REQUEST_TIMEOUT) maybe(false);
      throw error;
    }
  }

  async function launch(key: LaunchRequest, signal: AbortSignal, maybe: (isThere: boolean) => void): Promise<Paid> {
    const running = await comput3.runningWorkloads(signal);
    const ours = running.filter((workload) => workload.type === key.type && workload.expires === key.expires);
    // The provider counts whole seconds.
    const adopted = ours.find((workload) => workload.created * 1000 >= key.launchedAfter - 1000);
    const { max } = limitsOf(config.gpu.pools[key.type], await readPoolOverrides(store, key.type));
    if (adopted === undefined && running.filter(({ type }) => type === key.type).length >= max) {
      throw new Error(`there are already ${max} instances of ${key.type}`);
    }
    if (adopted !== undefined) maybe(true);
    const launched = adopted ?? (await rent(key, signal, maybe));
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

  async function answers(signal: AbortSignal): Promise<boolean> {
    const limit = watchLoop(ANSWER_WITHIN_MS, signal);
    try {
      await comput3.runningWorkloads(limit.signal);
      return true;
    } catch (error) {
      signal.throwIfAborted();
      return error instanceof Comput3Error && error.status !== undefined;
    } finally {
      limit.end();
    }
  }

  async function end({ own, onlyOwn, before, ...key }: Ending, note: Note, signal: AbortSignal) {
    let ended = before;
    const record = (instance: EndedInstance) => {
      ended = instance;
      note(instance);
    };
    const stop = async ({ workload, node, created }: Workload) => {
      const instance = { workload, node, created };
      // Should the answer get lost, this is when it ended.
      if (ended?.refundAmount === undefined) record(endOf(instance, {}));
      const stopped = await comput3.stop(workload, signal);
      if (stopped.stopped !== undefined) record(endOf(instance, stopped));
      log.info("instance stopped", { workload, node, refundAmount: stopped.refundAmount });
    };
    try {
      await untilNoneIsLeft(Math.min(CONFIRM_MS, key.expires * 1000 - Date.now()), signal, async () => {
        const instances = await instancesOf(key, signal);
        const left = instances.filter(({ workload }) => !onlyOwn || workload === own?.workload);
        for (const instance of left) await (instance.workload === own?.workload ? stop : retire)(instance);
        return left.length;
      });
    } catch (error) {
      signal.throwIfAborted();
      if (Date.now() < key.expires * 1000) throw error;
      log.warn("instance not seen to be gone, but past its end", { ...key, error: messageOf(error) });
    }
    if (own !== undefined) ended ??= { ...own, stoppedAt: Math.min(Date.now(), key.expires * 1000) };
    return ended;
  }

  /**
   * @param stopAll says how many there were to stop
   */
  async function untilNoneIsLeft(withinMs: number, signal: AbortSignal, stopAll: () => Promise<number>) {
    const giveUpAt = performance.now() + withinMs;
    for (let round = 0; ; round += 1) {
      if (round > 1) await delay(config.gpu.checkRetryMs, undefined, { signal });
      try {
        const left = await stopAll();
        if (left === 0) return;
        if (performance.now() > giveUpAt) throw new Error(`${left} instances still run`);
      } catch (error) {
        signal.throwIfAborted();
        if (performance.now() > giveUpAt) throw ApplicationFailure.retryable(messageOf(error), "StillRunning");
        log.warn("not seen to be stopped yet", { error: messageOf(error) });
      }
    }
  }

  return { launch, isThere, answers, end };
}
