import type { Priority } from "../jobs/submission.ts";
import type { PoolGpu, PoolState, QueuedJob } from "./pool.ts";

/**
 * What a pool does next: a pure function of what it knows, so that the workflow, its replay and a
 * simulation decide alike.
 *
 * Earliest deadline first inside a priority; the most recently used idle GPU first, so that the others can
 * time out; the first GPU at once, each further one after a random wait if it is still needed then.
 */
export interface PolicySettings {
  /** Bounds of the random wait before each further GPU, in milliseconds. */
  preLaunchMs: { min: number; max: number };
}

export interface Plan {
  assign: { jobId: string; attempt: number; gpuId: string }[];
  /** How many instances to launch now. */
  launch: number;
  /** Replaces `PoolState.growAt`. */
  growAt: number[];
  /** Epoch milliseconds at which to plan again, though nothing happens until then. */
  wakeAt?: number;
}

const rank: Record<Priority, number> = { high: 0, normal: 1, low: 2 };

/** The queue in the order in which it is served. */
export function serviceOrder(queue: readonly QueuedJob[]): QueuedJob[] {
  return [...queue].sort(
    (a, b) => rank[a.priority] - rank[b.priority] || a.completeBy - b.completeBy || a.queuedAt - b.queuedAt,
  );
}

/**
 * @param now epoch milliseconds
 * @param random a number in [0, 1)
 */
export function plan(pool: PoolState, now: number, settings: PolicySettings, random: () => number): Plan {
  if (pool.paused) return { assign: [], launch: 0, growAt: [] };
  const waiting = serviceOrder(pool.queue.filter((job) => job.completeBy > now));
  const idle = pool.gpus.filter((gpu) => gpu.state === "idle").sort((a, b) => b.since - a.since);
  const { assign, left } = assignIdle(waiting, idle, now);
  return { assign, ...grow(pool, left.length, now, settings, random) };
}

function assignIdle(waiting: readonly QueuedJob[], idle: readonly PoolGpu[], now: number) {
  const free = [...idle];
  const assign: Plan["assign"] = [];
  const left: QueuedJob[] = [];
  for (const job of waiting) {
    const index = free.findIndex((gpu) => now + job.expectedSeconds * 1000 <= gpu.expiresAt);
    const [gpu] = index === -1 ? [] : free.splice(index, 1);
    if (gpu === undefined) left.push(job);
    else assign.push({ jobId: job.jobId, attempt: job.attempt, gpuId: gpu.gpuId });
  }
  return { assign, left };
}

function grow(pool: PoolState, waiting: number, now: number, settings: PolicySettings, random: () => number) {
  const booting = pool.gpus.filter((gpu) => gpu.state === "launching" || gpu.state === "starting").length;
  const room = pool.limits.max - pool.gpus.length;
  const needed = pool.censusAt === undefined ? 0 : Math.max(0, Math.min(waiting - booting, room));
  const due = pool.growAt.filter((at) => at <= now).length;
  const usable = pool.gpus.some((gpu) => gpu.state !== "stopping" && gpu.state !== "draining");
  const launch = Math.min(needed, usable ? due : Math.max(due, 1));
  const { min, max } = settings.preLaunchMs;
  const growAt = pool.growAt.filter((at) => at > now).slice(0, needed - launch);
  while (growAt.length < needed - launch) growAt.push(now + min + random() * (max - min));
  const wakeAt = growAt.length === 0 ? {} : { wakeAt: Math.min(...growAt) };
  return { launch, growAt, ...wakeAt };
}
