import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, activityInfo, log } from "@temporalio/activity";
import { CancelledFailure } from "@temporalio/common";
import type { Config } from "../../config/index.ts";
import type { LaunchEnd } from "../../contracts/activityTypes.ts";
import { isLasting } from "../../gpus/provider.ts";
import { messageOf } from "../../lib/text.ts";
import type { InstanceSource, LaunchRequest, Paid } from "./instanceProvider.ts";
import { type Provider, troubleOf } from "./provider.ts";

/** A key that is refused is asked about ever more seldom, but once a minute … */
const LONGEST_CHECK_MS = 60_000;
/** … and while only launches are refused, these are tried ever more seldom. */
const LONGEST_REFUSAL_MS = 300_000;
const FIRST_CHECK_MS = 5000;

/**
 * Launches an instance. A busy provider is asked again after each of `config.gpu.launchRetryMs`. One that does not accept
 * the key, or has no money of ours, is not: it is asked for the balance now and then, and for the instance when that
 * is well again. The pool hears of each call that failed.
 * @throws ApplicationFailure `LaunchFailed`, or CancelledFailure, with a `LaunchEnd`
 */
export async function launch(
  request: LaunchRequest & { gpuId: string },
  { config, source, provider }: { config: Config; source: InstanceSource; provider: Provider },
  signal: AbortSignal,
): Promise<Paid> {
  const retriesMs = [...config.gpu.launchRetryMs];
  const firstCheckMs = Math.min(FIRST_CHECK_MS, retriesMs[0] ?? FIRST_CHECK_MS);
  // Half of its life must be left for jobs.
  const worthwhileUntil = request.expires * 1000 - config.gpu.lifetimeMs / 2;
  /** What an attempt before this one did is not known. */
  let mayExist = activityInfo().attempt > 1;

  async function tryOnce(): Promise<Paid> {
    let maybe = false;
    try {
      return await source.launch(request, signal, (isThere) => {
        maybe = isThere;
      });
    } catch (error) {
      mayExist ||= maybe;
      throw error;
    }
  }

  async function untilLaunched(): Promise<Paid> {
    for (let refusals = 0; ; ) {
      try {
        const paid = await tryOnce();
        provider.launched();
        return paid;
      } catch (error) {
        signal.throwIfAborted();
        const trouble = troubleOf(error);
        if (trouble !== undefined) await provider.report(request.type, { at: Date.now(), trouble });
        const isRefused = trouble !== undefined && isLasting(trouble);
        const retryMs = isRefused ? undefined : retriesMs.shift();
        if (isRefused ? Date.now() >= worthwhileUntil : retryMs === undefined) throw error;
        log.warn("no instance yet", { ...request, error: messageOf(error), retryMs });
        if (retryMs !== undefined) await delay(retryMs, undefined, { signal });
        else await untilWell(firstCheckMs, refusals++, request.type, provider, signal);
      }
    }
  }

  try {
    return await untilLaunched();
  } catch (error) {
    const end: LaunchEnd = { nothingLaunched: !mayExist };
    if (signal.aborted) throw new CancelledFailure("the launch was cancelled", [end]);
    const message = messageOf(error);
    throw ApplicationFailure.create({ message, type: "LaunchFailed", nonRetryable: true, details: [end] });
  }
}

/** Waits until the key is accepted and there is money; at least for a while, the longer the more launches were refused. */
async function untilWell(firstMs: number, refusals: number, type: string, provider: Provider, signal: AbortSignal) {
  let waitMs = Math.min(firstMs * 2 ** refusals, LONGEST_REFUSAL_MS);
  for (;;) {
    await delay(waitMs, undefined, { signal });
    const trouble = await provider.check(waitMs / 2);
    if (trouble === undefined || !isLasting(trouble)) return;
    await provider.report(type, { at: Date.now(), trouble });
    waitMs = Math.min(2 * waitMs, LONGEST_CHECK_MS);
  }
}
