import { Forecast, type Slot, slotsOf } from "./forecast.ts";
import { serviceOrder, type WaitingJob } from "./order.ts";
import { placesOf } from "./places.ts";
import { furtherGpus, launchableAt, type PolicySettings } from "./policy.ts";
import type { PoolState } from "./pool.ts";
import type { KnownTrouble } from "./provider.ts";
import type { JobOutlook, PoolReport, PoolStatus, ProviderStatus, WaitingReason } from "./types.ts";

/** A launch that takes so many times as long as usual, and so much more, is not going well. */
const OVERDUE_LAUNCHES = 3;
const OVERDUE_MS = 30_000;

/** What a pool says of itself, and to each waiting job: by the code that will decide. */
export function statusOf(pool: PoolState, now: number, settings: PolicySettings): PoolStatus {
  return {
    type: pool.type,
    limits: pool.limits,
    paused: pool.paused,
    queue: outlooks(pool, now, settings),
    gpus: pool.gpus.map(({ sequence: _sequence, request: _request, expectedMs: _expectedMs, ...view }) => view),
    ...(pool.provider && { provider: shown(pool.provider) }),
  };
}

export function reportOf(pool: PoolState, now: number, settings: PolicySettings): PoolReport {
  return { at: now, status: statusOf(pool, now, settings), waiting: [...placesOf(pool.queue)] };
}

function shown({ at: _at, ...status }: KnownTrouble): ProviderStatus {
  return status;
}

function outlooks(pool: PoolState, now: number, settings: PolicySettings): JobOutlook[] {
  const { jobs, hopeless } = serviceOrder(pool, now);
  const there = slotsOf(pool, now, settings.lifetimeMs);
  const forecast = new Forecast([...there, ...slotsToCome(pool, jobs, now, settings)]);
  const providerFails = isProviderFailing(pool, now);
  // While nobody knows whether another GPU comes, times are those of the GPUs that are there.
  const certain = providerFails ? new Forecast(there.filter(({ state }) => state !== "launching")) : undefined;
  const soon = jobs.map((one, index): JobOutlook => {
    const start = forecast.serve(one);
    const waitingFor = reasonOf(pool, start?.slot, providerFails);
    const sure = certain === undefined ? start : certain.serve(one);
    const canTell = sure !== undefined && waitingFor !== "paused" && waitingFor !== "provider_unavailable";
    const etaSeconds = canTell ? { etaSeconds: Math.ceil((sure.at - now) / 1000) } : {};
    return { jobId: one.job.jobId, position: index + 1, waitingFor, ...etaSeconds };
  });
  const never = hopeless.map(({ job }, index): JobOutlook => {
    const waitingFor = reasonOf(pool, forecast.next?.state, providerFails);
    return { jobId: job.jobId, position: jobs.length + index + 1, waitingFor };
  });
  return [...soon, ...never];
}

/** GPUs that are going to be launched, by when they are expected to be ready. */
function slotsToCome(pool: PoolState, jobs: readonly WaitingJob[], now: number, settings: PolicySettings): Slot[] {
  const { min, max } = settings.preLaunchMs;
  const count = furtherGpus(pool, jobs, new Map(), now, settings);
  return Array.from({ length: count }, (_, index): Slot => {
    const usualAt = pool.gpus.length + index === 0 ? now : (pool.growAt[index] ?? now + (min + max) / 2);
    return { at: Math.max(now, usualAt, launchableAt(pool)) + pool.learnt.launch.ms, state: "launching" };
  });
}

function reasonOf(pool: PoolState, slot: Slot["state"] | undefined, providerFails: boolean): WaitingReason {
  if (pool.paused) return "paused";
  const isFull = pool.gpus.length >= pool.limits.max;
  const noneToCome = slot === undefined && (!isFull || (providerFails && pool.limits.max > 0));
  if (slot === "launching" || noneToCome) {
    return providerFails ? "provider_unavailable" : "gpu_starting";
  }
  return isFull ? "gpu_limit" : "gpu_busy";
}

/** The provider gives none, the last launch failed, no node can be used, or a launch takes far too long. */
function isProviderFailing(pool: PoolState, now: number): boolean {
  const overdueMs = pool.learnt.launch.ms * OVERDUE_LAUNCHES + OVERDUE_MS;
  const isOverdue = pool.gpus.some(({ state, startedAt }) => state === "launching" && startedAt <= now - overdueMs);
  const areBenched = pool.nodes !== undefined && pool.gpus.length === 0 && launchableAt(pool) > now;
  return pool.provider !== undefined || pool.launchFailures !== undefined || areBenched || isOverdue;
}
