import {
  continueAsNew,
  patched,
  proxyActivities,
  proxyLocalActivities,
  proxySinks,
  type Sinks,
  setCurrentDetails,
  setHandler,
  setWorkflowOptions,
  workflowInfo,
} from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { PoolMessage } from "../activities/messaging/signals.ts";
import { ids } from "../contracts/names.ts";
import {
  census,
  gpuChanged,
  poolStatus,
  providerReport,
  requestLease,
  resizePool,
  withdrawLease,
} from "../contracts/signals.ts";
import { launchableNodes, type Plan, type PolicySettings, plan } from "../gpus/policy.ts";
import {
  addRequest,
  applyCensus,
  applyChange,
  confirmAssignment,
  confirmDrain,
  confirmKeep,
  confirmLaunch,
  createPool,
  forgetGpu,
  type PoolState,
  resize,
  withdrawRequest,
} from "../gpus/pool.ts";
import { noticeProvider } from "../gpus/provider.ts";
import { reportOf, statusOf } from "../gpus/queueForecast.ts";
import type { PoolLimits, PoolReport } from "../gpus/types.ts";
import { movesToCurrentVersion } from "./versioning.ts";
import { createAlarm } from "./wakeTimer.ts";

export interface PoolSettings extends PolicySettings {
  limits: PoolLimits;
  /** How long a pool with no job and no GPU lives on. */
  lingerMs: number;
}

export interface PoolInput {
  type: string;
  settings: PoolSettings;
  /** What the run before knew. */
  pool?: PoolState;
}

// One regular activity sends a whole batch: a local one would hold the workflow task open, and a storm of
// signals would then make the server close that task by force.
const { sendPoolMessages } = proxyActivities<Activities>({
  startToCloseTimeout: "30s",
  retry: { initialInterval: "200ms", maximumInterval: "5s" },
});
const { wantCensus } = proxyLocalActivities<Activities>({ startToCloseTimeout: "5s" });

/** Where a pool says how it is, for whoever asks: a query would need its worker, and its attention. */
export interface PoolSinks extends Sinks {
  poolReports: { publish(report: PoolReport): void };
}
const { poolReports } = proxySinks<PoolSinks>();
const REPORT_EVERY_MS = 1000;

setWorkflowOptions(movesToCurrentVersion, gpuPool);

/**
 * One pool per workload type: keeps the queue of the jobs that wait for a GPU, and decides which of them
 * gets which instance and when another instance is launched.
 */
export async function gpuPool(input: PoolInput): Promise<void> {
  const { type, settings } = input;
  const pool = input.pool ?? createPool(type, settings.limits, Date.now());
  const alarm = createAlarm();
  // Handlers only record; the main loop applies what came, after the answers to what it sent.
  const inbox: (() => void)[] = [];
  const record = (apply: (now: number) => void) => {
    inbox.push(() => apply(Date.now()));
  };
  const mayDisplace = () => patched("places-shared-out");
  setHandler(requestLease, (request) => record((now) => addRequest(pool, request, now, mayDisplace)));
  setHandler(withdrawLease, ({ jobId }) => record(() => withdrawRequest(pool, jobId)));
  setHandler(gpuChanged, (change) => record(() => applyChange(pool, change)));
  setHandler(census, (seen) => record((now) => applyCensus(pool, seen, now, mayDisplace)));
  setHandler(providerReport, (report) => record(() => noticeProvider(pool, report)));
  setHandler(resizePool, (size) => record(() => resize(pool, size)));
  setHandler(poolStatus, () => statusOf(pool, workflowInfo().unsafe.now(), settings));

  let reportedAt = Number.NEGATIVE_INFINITY;
  if (pool.censusAt === undefined) await wantCensus();
  for (;;) {
    for (const apply of inbox.splice(0)) apply();
    const now = Date.now();
    if (pool.queue.length > 0 || pool.gpus.length > 0) pool.busyAt = now;
    const decided = plan(pool, now, settings, Math.random);
    pool.growAt = decided.growAt;
    setCurrentDetails(describe(pool));
    const messages = toMessages(pool, decided, settings, now);
    if (messages.length > 0) await send(pool, messages);
    const isBusy = inbox.length > 0 || messages.length > 0;
    const needed = pool.queue.length > 0 || pool.gpus.length > 0;
    const endsAt = needed ? undefined : pool.busyAt + settings.lingerMs;
    if (!isBusy && endsAt !== undefined && endsAt <= now) return;
    // Earlier versions waited for a quiet moment, which a busy pool may never have.
    if (workflowInfo().continueAsNewSuggested && (!isBusy || patched("continue-while-busy"))) {
      for (const apply of inbox.splice(0)) apply();
      await continueAsNew<typeof gpuPool>({ type, settings, pool });
    }
    const reportDue = now >= reportedAt + REPORT_EVERY_MS;
    if (reportDue) {
      poolReports.publish(reportOf(pool, now, settings));
      reportedAt = now;
    }
    if (isBusy) continue;
    const reportAt = reportDue || !patched("report-of-pool") ? undefined : reportedAt + REPORT_EVERY_MS;
    const wakeAt = earliest([decided.wakeAt, endsAt, reportAt]);
    await alarm.wait(() => inbox.length > 0, wakeAt, "next decision of the pool");
  }
}

function toMessages(pool: PoolState, decided: Plan, settings: PoolSettings, now: number): PoolMessage[] {
  const assignments = decided.assign.map(
    ({ jobId, attempt, gpuId }): PoolMessage => ({
      kind: "assign",
      gpuId,
      assignment: { jobId, leaseId: `${jobId}/${attempt}@${gpuId}` },
    }),
  );
  // The end of its life, in whole seconds, is what identifies an instance at the provider: it comes back in
  // the provider's list. So it is unique per type, and a little random, for pools that start at the same time.
  let expires = Math.floor((now + settings.lifetimeMs) / 1000) + Math.floor(Math.random() * 20);
  const taken = new Set(pool.gpus.map((gpu) => gpu.gpuId));
  const nodes = launchableNodes(pool, now);
  const launches = Array.from({ length: decided.launch }, (_, index): PoolMessage => {
    do expires += 1;
    while (taken.has(ids.gpu(pool.type, expires)));
    const node = nodes[index];
    return {
      kind: "launch",
      type: pool.type,
      gpuId: ids.gpu(pool.type, expires),
      expires,
      ...(node !== undefined && { node }),
    };
  });
  const keeps = decided.keep.map((told): PoolMessage => ({ kind: "keep", ...told }));
  const drains = decided.drain.map((gpuId): PoolMessage => ({ kind: "drain", gpuId, reason: "jobs come too seldom" }));
  return [...assignments, ...keeps, ...drains, ...launches];
}

/** Sends a batch and applies the answers, before anything that arrived meanwhile. */
async function send(pool: PoolState, messages: PoolMessage[]): Promise<void> {
  const delivered = await sendPoolMessages({ messages });
  const now = Date.now();
  messages.forEach((message, index) => {
    if (delivered[index]) confirm(pool, message, now);
    else if (message.kind !== "launch") forgetGpu(pool, message.gpuId, now);
  });
}

/** What a manager has been told has happened. */
function confirm(pool: PoolState, message: PoolMessage, now: number): void {
  const { gpuId } = message;
  switch (message.kind) {
    case "assign":
      confirmAssignment(pool, gpuId, message.assignment, now);
      break;
    case "keep":
      confirmKeep(pool, gpuId, message.kept);
      break;
    case "drain":
      confirmDrain(pool, gpuId, now);
      break;
    case "launch": {
      const { kind: _launch, expires, ...instance } = message;
      confirmLaunch(pool, { ...instance, expiresAt: expires * 1000 }, now);
      break;
    }
    default:
      message satisfies never;
  }
}

function earliest(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

function describe(pool: PoolState): string {
  const gpus = pool.gpus.map(
    (gpu) => `- \`${gpu.gpuId}\` ${gpu.state}${gpu.lease ? ` by job ${gpu.lease.jobId}` : ""}`,
  );
  const state = pool.paused ? "paused" : pool.censusAt === undefined ? "waiting for the first census" : "running";
  return [
    `**${pool.type}**, ${state}: ${pool.queue.length} waiting, ${pool.gpus.length} of ${pool.limits.max} GPUs`,
    ...gpus,
  ].join("\n");
}
