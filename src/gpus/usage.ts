import type { GpuUsage } from "./types.ts";

/**
 * The books of an instance: every moment from its launch to its end is boot, busy or idle. A job is charged the
 * time in which it held the instance and the time before that in which nobody did, back to the job before; the
 * first one is charged the boot. What follows the last job is nobody's.
 */
export function openUsage(paidFrom: number, ratePerHour: number | undefined): GpuUsage {
  return {
    paidFrom,
    until: paidFrom,
    bootMs: 0,
    busyMs: 0,
    idleMs: 0,
    jobs: 0,
    ...(ratePerHour !== undefined && { ratePerHour }),
  };
}

type Use = "bootMs" | "busyMs" | "idleMs";

/** Accounts for the time up to `at`; the clocks of others may be a little behind. */
export function account(usage: GpuUsage, use: Use, at: number): GpuUsage {
  const until = Math.max(at, usage.until);
  return { ...usage, until, [use]: usage[use] + until - usage.until };
}

/** Money for so much time; undefined without a rate. */
export function costOf(ms: number, ratePerHour: number | undefined): number | undefined {
  return ratePerHour === undefined ? undefined : (ms / 3_600_000) * ratePerHour;
}
