import { defineQuery, defineSignal } from "@temporalio/workflow";
import type { PoolSize } from "../gpus/pool.ts";
import type {
  Assignment,
  Census,
  GpuChange,
  Lease,
  LeaseLoss,
  LeaseRelease,
  LeaseRequest,
  PoolStatus,
  ProviderReport,
  ProviderSeen,
} from "../gpus/types.ts";
import type { EndRequest } from "../jobs/states.ts";

/**
 * Every message between workflows, and from outside to them. Each one is idempotent by the id it carries,
 * because a sender that got no answer sends it again.
 */

// To a job

/** API or operator: end the job. The first recorded ending wins. */
export const endJob = defineSignal<[EndRequest]>("endJob");
/** Manager: the GPU is yours until you release it. A job that does not want it (any more) releases it at once. */
export const leaseGranted = defineSignal<[Lease]>("leaseGranted");
/** Manager: the GPU is gone. `nodeFault` is false when an operator took it, which does not count as an attempt. */
export const leaseLost = defineSignal<[LeaseLoss]>("leaseLost");

// To a webhook

/** API or operator: deliver it again, after the attempt that runs. */
export const deliverAgain = defineSignal<[{ replayId: string }]>("deliverAgain");

// To a pool

/** Job: I want a GPU. Sent again every ten minutes, and with a higher attempt after a GPU was lost. */
export const requestLease = defineSignal<[LeaseRequest]>("requestLease");
/** Job: no longer wanted. */
export const withdrawLease = defineSignal<[{ jobId: string }]>("withdrawLease");
/** Manager: this is how my instance is now. */
export const gpuChanged = defineSignal<[GpuChange]>("gpuChanged");
/** Reconciler: what exists beyond what the pool's own messages told it. */
export const census = defineSignal<[Census]>("census");
/** A launch that is tried again, or the reconciler: this is how the provider is. */
export const providerReport = defineSignal<[ProviderReport]>("providerReport");
/** Operator: change the limits. */
export const resizePool = defineSignal<[PoolSize]>("resizePool");

// To a manager

/** Pool: give your lease to this job. Refused (by `gpuChanged`) unless the instance is idle. */
export const assign = defineSignal<[Assignment]>("assign");
/** Job: I am done with the GPU. */
export const releaseLease = defineSignal<[LeaseRelease]>("releaseLease");
/** Job: I still use it. Sent every minute. */
export const renewLease = defineSignal<[{ leaseId: string }]>("renewLease");
/** Pool: do not stop for being idle, or do again. */
export const keep = defineSignal<[{ kept: boolean }]>("keep");
/** Pool or operator: finish the job (or, with `now`, take its GPU away), then stop. */
export const drain = defineSignal<[{ now: boolean; reason: string }]>("drain");

// To the reconciler

/** Pool: I start without a state, look now rather than at the next minute. */
export const censusWanted = defineSignal("censusWanted");

// Queries

export const poolStatus = defineQuery<PoolStatus>("poolStatus");
/** Reconciler: how its last look found the provider. */
export const providerSeen = defineQuery<ProviderSeen>("providerSeen");
