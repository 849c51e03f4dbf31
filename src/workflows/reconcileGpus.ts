import {
  continueAsNew,
  log,
  patched,
  proxyActivities,
  proxyLocalActivities,
  rootCause,
  setCurrentDetails,
  setHandler,
  setWorkflowOptions,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import { censusWanted, providerSeen } from "../contracts/signals.ts";
import type { ProviderSeen, ProviderTrouble } from "../gpus/types.ts";
import { movesToCurrentVersion } from "./versioning.ts";
import { createAlarm } from "./wakeTimer.ts";

export interface ReconcilerInput {
  intervalMs: number;
  /** Epoch milliseconds; jobs that were terminated since then are still to be notified. */
  since?: number;
  /** How the run before found the provider. */
  seen?: ProviderSeen;
}

const { reconcile } = proxyActivities<Activities>({
  startToCloseTimeout: "2m",
  heartbeatTimeout: "30s",
  retry: { maximumAttempts: 3, initialInterval: "1s" },
  summary: "compare instances, managers, pools and jobs",
});

setWorkflowOptions(movesToCurrentVersion, reconcileGpus);

/** Heals what a terminated workflow or a lost message left behind; one for all, every minute. */
export async function reconcileGpus(input: ReconcilerInput): Promise<void> {
  const { intervalMs } = input;
  let since = input.since ?? Date.now() - intervalMs;
  let seen = input.seen ?? {};
  let wanted = false;
  setHandler(providerSeen, () => seen);
  setHandler(censusWanted, () => {
    wanted = true;
  });
  const alarm = createAlarm();
  for (;;) {
    wanted = false;
    const startedAt = Date.now();
    try {
      const report = await reconcile({ since });
      since = startedAt;
      if (report.provider !== undefined) seen = seenNow(seen, report.provider, startedAt);
      setCurrentDetails(`last look at ${new Date(startedAt).toISOString()}: ${report.summary}`);
    } catch (error) {
      // The next look tries again; nothing is done on half a picture.
      log.error("the look at instances, managers and jobs failed", { error: rootCause(error) ?? String(error) });
    }
    const nextAt = startedAt + intervalMs;
    for (;;) {
      const isDue = wanted || Date.now() >= nextAt;
      // Earlier versions did so only between looks, of which some take longer than the time to the next one.
      if (workflowInfo().continueAsNewSuggested && (!isDue || patched("continue-while-busy")))
        await continueAsNew<typeof reconcileGpus>({ intervalMs, since, seen });
      if (isDue) break;
      await alarm.wait(() => wanted, nextAt, "until the next look");
    }
  }
}

/** A trouble that goes on has begun when it was first seen. */
function seenNow({ provider: before }: ProviderSeen, { trouble }: { trouble?: ProviderTrouble }, at: number) {
  if (trouble === undefined) return {};
  return { provider: { ...trouble, since: before?.state === trouble.state ? before.since : at } };
}

const { wantCensus } = proxyLocalActivities<Activities>({ startToCloseTimeout: "10s" });

/** Started by an hourly Schedule: brings the reconciler back if it was terminated. */
export async function ensureReconciler(): Promise<void> {
  await wantCensus();
}
