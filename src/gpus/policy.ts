import { Forecast, isUsable, slotsOf } from "./forecast.ts";
import { adaptiveIdleMs, idleTooLong } from "./idleTimeout.ts";
import { serviceOrder, type WaitingJob } from "./order.ts";
import type { PoolGpu, PoolState } from "./pool.ts";
import { refusedUntil } from "./provider.ts";

/**
 * What a pool does next: a pure function of what it knows, so that the workflow, its replay and a
 * simulation decide alike. docs/scheduling.md explains it, with what each rule is worth.
 */
export interface PolicySettings {
  /** Bounds of the random wait before each further GPU, in milliseconds. */
  preLaunchMs: { min: number; max: number };
  /** How long an instance lives, as asked for at its launch. */
  lifetimeMs: number;
  /** With `GPU_IDLE_POLICY=adaptive`: the idle timeout that is never exceeded. Absent: managers keep to it alone. */
  adaptiveIdleMs?: number;
}

export interface Plan {
  assign: Grant[];
  /** How many instances to launch now. */
  launch: number;
  /** Replaces `PoolState.growAt`. */
  growAt: number[];
  /** Managers to be told that they keep their instance though it is idle, or do not any more. */
  keep: { gpuId: string; kept: boolean }[];
  /** Managers to be told to stop their idle instance. */
  drain: string[];
  /** Epoch milliseconds at which to plan again, though nothing happens until then. */
  wakeAt?: number;
}

interface Grant {
  jobId: string;
  attempt: number;
  gpuId: string;
}

/** After the first failed launch; twice as long after each further one. */
const LAUNCH_BACKOFF_MS = 10_000;
const MAX_LAUNCH_BACKOFF_MS = 300_000;
/** Runs take longer than was expected: while jobs wait, the plan is made anew. */
const LOOK_AGAIN_MS = 5000;
/** An instance that was not used for so long is spare: it is left to time out if it is hardly missed … */
const SPARE_AFTER_MS = 100_000;
/** … because another one is free before the job has waited for so long. */
const SPARED_WAIT_MS = 15_000;
/** A GPU more is worth a wait of so much more than its launch takes; with one GPU nothing more, for one long job blocks it. */
const EXTRA_PATIENCE = 0.6;
/** Jobs that wait for each GPU that may be launched, each with a random wait of its own. */
const WAITS_PER_LAUNCH = 4;
/** GPUs that so large a part of the queue needs are launched without a wait: the need will not go away. */
const CERTAIN = 0.75;

/**
 * @param now epoch milliseconds
 * @param random a number in [0, 1)
 */
export function plan(pool: PoolState, now: number, settings: PolicySettings, random: () => number): Plan {
  const keep = keepWarm(pool);
  if (pool.paused) return { assign: [], launch: 0, growAt: [], keep, drain: [] };
  const hasChoice = roomOf(pool) > 0 || pool.gpus.some(({ state }) => state === "idle");
  if (!hasChoice) return { assign: [], launch: 0, growAt: [], keep, drain: [] };
  const { jobs } = serviceOrder(pool, now);
  const { assign, busy, left } = assignIdle(pool, jobs, now, settings);
  const { wakeAt, ...growth } = grow(pool, left, busy, now, settings, random);
  const { drain, drainAt } = left.length > 0 ? noDrain : shrink(pool, busy, now, settings);
  const next = Math.min(wakeAt, drainAt);
  return { assign, ...growth, keep, drain, ...(next !== Infinity && { wakeAt: next }) };
}

/** Jobs in their order, each to the first idle GPU that lives long enough for it. */
function assignIdle(pool: PoolState, jobs: readonly WaitingJob[], now: number, settings: PolicySettings) {
  const assign: Grant[] = [];
  const left: WaitingJob[] = [];
  /** By the GPU that was assigned now: how long it will be busy. */
  const busy = new Map<string, number>();
  const freeSoon = freeSoonest(pool, now, settings);
  let idle = idleGpus(pool);
  let longestLife = latestEnd(idle);
  for (const waiting of jobs) {
    const { job, expectedMs } = waiting;
    const endsAt = now + fittingRun(expectedMs, settings);
    const gpu = endsAt <= longestLife ? idle.find(({ expiresAt }) => endsAt <= expiresAt) : undefined;
    if (gpu === undefined || (isSpare(gpu, now) && canWaitFor(freeSoon[0], waiting))) {
      if (gpu !== undefined) freeSoon.shift();
      left.push(waiting);
      continue;
    }
    idle = idle.filter((one) => one !== gpu);
    longestLife = latestEnd(idle);
    busy.set(gpu.gpuId, expectedMs);
    assign.push({ jobId: job.jobId, attempt: job.attempt, gpuId: gpu.gpuId });
  }
  return { assign, busy, left };
}

/** The most recently used one first, so that the others can time out; those that are kept anyway before all. */
function idleGpus(pool: PoolState): PoolGpu[] {
  const idle = pool.gpus.filter((gpu) => gpu.state === "idle");
  return idle.sort((a, b) => Number(b.kept ?? false) - Number(a.kept ?? false) || b.since - a.since);
}

function latestEnd(gpus: readonly PoolGpu[]): number {
  return gpus.reduce((latest, { expiresAt }) => Math.max(latest, expiresAt), -Infinity);
}

/** A job that is expected to take longer than any instance lives is given a young one, and not none at all. */
function fittingRun(expectedMs: number, { lifetimeMs }: PolicySettings): number {
  return Math.min(expectedMs, lifetimeMs / 2);
}

function isSpare(gpu: PoolGpu, now: number): boolean {
  return !gpu.kept && gpu.since <= now - SPARE_AFTER_MS;
}

function canWaitFor(freeAt: number | undefined, { job, expectedMs }: WaitingJob): boolean {
  return freeAt !== undefined && freeAt <= job.queuedAt + SPARED_WAIT_MS && freeAt + expectedMs <= job.completeBy;
}

/** When GPUs that are in use will be free, if that is soon. */
function freeSoonest(pool: PoolState, now: number, { lifetimeMs }: PolicySettings): number[] {
  const slots = slotsOf(pool, now, lifetimeMs);
  const soon = slots.filter(({ at, state }) => state === "leased" && at <= now + SPARED_WAIT_MS);
  return soon.map(({ at }) => at).sort((a, b) => a - b);
}

function grow(
  pool: PoolState,
  waiting: readonly WaitingJob[],
  busy: ReadonlyMap<string, number>,
  now: number,
  settings: PolicySettings,
  random: () => number,
): { launch: number; growAt: number[]; wakeAt: number } {
  const room = roomOf(pool);
  const usable = pool.gpus.filter(isUsable).length;
  const warm = Math.min(room, Math.max(0, pool.limits.min - usable));
  const needed = Math.max(warm, furtherGpus(pool, waiting, busy, now, settings));
  const retryAt = launchableAt(pool);
  if (needed > 0 && retryAt > now) return { launch: 0, growAt: [], wakeAt: retryAt };
  const due = pool.growAt.filter((at) => at <= now).length;
  const certain = furtherGpus(pool, waiting.slice(0, Math.floor(waiting.length * CERTAIN)), busy, now, settings);
  const atOnce = Math.max(warm, certain, usable === 0 ? 1 : 0);
  const possible = pool.nodes === undefined ? room : launchableNodes(pool, now).length;
  const launch = Math.min(needed, possible, Math.max(due, atOnce));
  const growAt = waitsFor(
    pool,
    Math.min(waiting.length - launch, room * WAITS_PER_LAUNCH),
    launch,
    now,
    settings,
    random,
  );
  const mayChange = room > launch || pool.gpus.some(({ gpuId, state }) => state === "idle" && !busy.has(gpuId));
  const lookAt = waiting.length > 0 && mayChange ? now + LOOK_AGAIN_MS : Infinity;
  const overAt = needed > launch ? (growAt.find((at) => at > now) ?? Infinity) : Infinity;
  return { launch, growAt, wakeAt: Math.min(lookAt, overAt) };
}

/** How many instances more are allowed; none before the first census, for some may have been forgotten. */
export function roomOf({ censusAt, limits, gpus, nodes }: PoolState): number {
  const max = Math.min(limits.max, nodes?.length ?? Infinity);
  return censusAt === undefined ? 0 : Math.max(0, max - gpus.length);
}

/**
 * A random wait for each job that waits, as long as it waits: when one is over, a GPU is launched if it is needed
 * then. Those that are over already, less those that were used up, come first.
 */
function waitsFor(
  pool: PoolState,
  count: number,
  used: number,
  now: number,
  { preLaunchMs: { min, max } }: PolicySettings,
  random: () => number,
): number[] {
  const waits = pool.growAt.slice(used).slice(0, Math.max(0, count));
  while (waits.length < count) waits.push(Math.round(now + min + random() * (max - min)));
  return waits.sort((a, b) => a - b);
}

/** When the next launch may be tried: launches that fail are not repeated in haste. */
export function launchableAt(pool: PoolState): number {
  if (pool.nodes === undefined) return Math.max(backoffEnd(pool.launchFailures), refusedUntil(pool));
  return unusedNodes(pool).reduce((first, { readyAt }) => Math.min(first, readyAt), Infinity);
}

/** Nodes of one's own that could be used now. */
export function launchableNodes(pool: PoolState, now: number): string[] {
  return unusedNodes(pool).flatMap(({ node, readyAt }) => (readyAt <= now ? [node] : []));
}

function unusedNodes({ nodes = [], gpus, benched }: PoolState): { node: string; readyAt: number }[] {
  const used = new Set(gpus.map(({ node }) => node));
  return nodes
    .filter((node) => !used.has(node))
    .map((node) => ({ node, readyAt: backoffEnd(benched.find((one) => one.node === node)) }));
}

function backoffEnd(failures: { count: number; at: number } | undefined): number {
  if (failures === undefined) return 0;
  return failures.at + Math.min(MAX_LAUNCH_BACKOFF_MS, LAUNCH_BACKOFF_MS * 2 ** (failures.count - 1));
}

/**
 * How many GPUs more are worth their money. The jobs are played on the GPUs that there are; one more is added when
 * a job would wait clearly longer than a launch takes, or too long for its deadline.
 */
export function furtherGpus(
  pool: PoolState,
  waiting: readonly WaitingJob[],
  busy: ReadonlyMap<string, number>,
  now: number,
  { lifetimeMs }: PolicySettings,
): number {
  const room = roomOf(pool);
  if (room === 0 || waiting.length === 0) return 0;
  const launchMs = pool.learnt.launch.ms;
  const readyAt = now + launchMs;
  const patientUntil = now + launchMs * (1 + EXTRA_PATIENCE * (1 - 1 / Math.max(1, pool.gpus.length)));
  const forecast = new Forecast(slotsOf(pool, now, lifetimeMs, busy));
  let needed = 0;
  for (const one of waiting) {
    if (needed === room) break;
    const startsAt = forecast.next?.at ?? Infinity;
    if (startsAt > readyAt && (startsAt > patientUntil || isSavedBy(readyAt, startsAt, one))) {
      needed += 1;
      forecast.add({ at: readyAt, state: "launching" });
    }
    forecast.serve(one);
  }
  return needed;
}

function isSavedBy(readyAt: number, startsAt: number, { job, expectedMs }: WaitingJob): boolean {
  return startsAt + expectedMs > job.completeBy && readyAt + expectedMs <= job.completeBy;
}

const noDrain = { drain: [], drainAt: Infinity };

/** Instances that jobs come too seldom for; only with an adaptive idle timeout. */
function shrink(pool: PoolState, busy: ReadonlyMap<string, number>, now: number, settings: PolicySettings) {
  const fixedMs = settings.adaptiveIdleMs;
  if (fixedMs === undefined) return noDrain;
  const surplus = Math.max(0, pool.gpus.filter(isUsable).length - pool.limits.min);
  const tooLong = idleTooLong(pool, now, fixedMs).filter(({ gpuId }) => !busy.has(gpuId));
  const drain = tooLong.map(({ gpuId }) => gpuId).slice(0, surplus);
  const idleMs = adaptiveIdleMs(pool, now, fixedMs);
  const ends = pool.gpus.flatMap(({ gpuId, state, since }) =>
    state === "idle" && !busy.has(gpuId) && since + idleMs > now ? [since + idleMs] : [],
  );
  return { drain, drainAt: ends.reduce((first, at) => Math.min(first, at), Infinity) };
}

/** Which managers are to be told that `limits.min` concerns them: those that know it already, then the youngest. */
function keepWarm(pool: PoolState): Plan["keep"] {
  const known = pool.gpus.filter(({ state }) => state === "idle" || state === "leased");
  const ranked = known.sort((a, b) => Number(b.kept ?? false) - Number(a.kept ?? false) || b.startedAt - a.startedAt);
  return ranked.flatMap(({ gpuId, kept = false }, index) => {
    const wanted = index < pool.limits.min;
    return wanted === kept ? [] : [{ gpuId, kept: wanted }];
  });
}
