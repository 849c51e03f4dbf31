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

/** The right of one job to use one instance until it gives it back. */
export interface Lease {
  /** Unique per grant: `<job id>/<attempt>@<gpu id>`. */
  leaseId: string;
  /** Workflow id of the manager that owns the instance. */
  gpuId: string;
  gpuType: string;
  node: string;
  /** The node's base URL, without a trailing slash. */
  nodeUrl: string;
  /** The base URL of the node's ComfyUI, without a trailing slash. */
  comfyuiUrl: string;
  /** Epoch milliseconds at which the provider ends the instance. */
  expiresAt: number;
}

/** What the job says of the node when it gives the lease back. */
export type LeaseOutcome =
  /** Nothing of the job runs on the node any more. */
  | "ok"
  /** The node failed the job, or the job's run could not be seen to have ended: retire the instance. */
  | "suspect";

/** Limits of a pool, from configuration or an operator. */
export interface PoolLimits {
  min: number;
  max: number;
}
