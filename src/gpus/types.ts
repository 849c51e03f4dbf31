import type { Priority } from "../jobs/submission.ts";

/**
 * A GPU instance's way through life:
 * `launching → starting → idle ⇄ leased → draining → stopping → stopped`, with `lost` for one that vanished.
 * `draining` is a leased instance that takes no further job.
 */
export type GpuState = "launching" | "starting" | "idle" | "leased" | "draining" | "stopping" | "stopped" | "lost";

/** A job's wish for a GPU. Idempotent by job id and attempt. */
export interface LeaseRequest {
  jobId: string;
  /** 1 for the job's first GPU. */
  attempt: number;
  tenant: string;
  priority: Priority;
  /** Epoch milliseconds. */
  completeBy: number;
  /** How long the job is expected to hold the GPU. */
  expectedSeconds: number;
}

/** Which job a lease belongs to. */
export interface Assignment {
  /** Unique per grant: `<job id>/<attempt>@<gpu id>`. */
  leaseId: string;
  jobId: string;
}

/** The right of one job to use one instance until it gives it back. */
export interface Lease extends Assignment {
  /** Workflow id of the manager that owns the instance. */
  gpuId: string;
  gpuType: string;
  node: string;
  /** The node's base URL, without a trailing slash. */
  nodeUrl: string;
  /** Epoch milliseconds at which the provider ends the instance. */
  expiresAt: number;
}

/** What the job says of the node when it gives the lease back. */
export type LeaseOutcome =
  /** Nothing of the job runs on the node any more. */
  | "ok"
  /** The node failed the job, or the job's run could not be seen to have ended: retire the instance. */
  | "suspect";

/** How an instance is: the payload of `gpuChanged` and the memo (key `gpu`) of its manager. */
export interface GpuView {
  gpuId: string;
  type: string;
  state: GpuState;
  /** Epoch milliseconds since when it is in this state. */
  since: number;
  /** Epoch milliseconds. */
  startedAt: number;
  /** Epoch milliseconds. */
  expiresAt: number;
  /** The provider's id and host name; absent until launched. */
  workload?: string;
  node?: string;
  /** The lease that is granted, if any. */
  lease?: Assignment;
  /** Why it stops or was lost. */
  reason?: string;
}

export interface GpuChange extends GpuView {
  /** Counts up with each change of one instance; an older one that arrives late is ignored. */
  sequence: number;
  /** The lease that ended: its job has been told, or gave it back. */
  released?: string;
  /** An assignment that was not taken: its job goes back into the queue. */
  refused?: string;
}

/** Limits of a pool, from configuration or an operator. */
export interface PoolLimits {
  /** Instances at one time. */
  max: number;
}

/** What exists beyond what a pool's own messages told it. */
export interface Census {
  /** Epoch milliseconds at which the look began; what changed later is not contradicted. */
  at: number;
  limits: PoolLimits;
  /** Every open manager of this type. */
  gpus: GpuView[];
  /** Jobs that wait and that the pool did not know. */
  missingJobs: LeaseRequest[];
  /** Jobs that the pool knew and that are not open any more. */
  goneJobs: string[];
}

export interface PoolStatus {
  type: string;
  limits: PoolLimits;
  paused: boolean;
  /** Job ids in the order in which they will be served. */
  queue: string[];
  gpus: GpuView[];
}
