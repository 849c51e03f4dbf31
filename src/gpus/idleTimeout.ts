import { arrivalRate } from "./estimates.ts";
import type { PoolGpu, PoolState } from "./pool.ts";

/** An idle instance is worth its money for as long as it takes so many jobs to come. */
const JOBS_TO_COME = 12;

/**
 * `GPU_IDLE_POLICY=adaptive`: how long an instance may be idle, by how often jobs come. Never longer than the fixed
 * timeout, and never shorter than what a launch takes, since that is what it costs to have it back.
 */
export function adaptiveIdleMs({ learnt }: PoolState, now: number, fixedMs: number): number {
  return Math.min(fixedMs, Math.max(learnt.launch.ms, JOBS_TO_COME / arrivalRate(learnt, now)));
}

/** Instances that were idle for too long, by that; those that are kept warm are not. */
export function idleTooLong(pool: PoolState, now: number, fixedMs: number): PoolGpu[] {
  const since = now - adaptiveIdleMs(pool, now, fixedMs);
  return pool.gpus.filter((gpu) => gpu.state === "idle" && !gpu.kept && gpu.since <= since);
}
