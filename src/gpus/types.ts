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
  /** What is run, such as `csm` or `whisper medium`: service times are learnt per kind. */
  kind: string;
  /** How long the job is expected to hold the GPU, as far as its inputs tell. */
  expectedSeconds: number;
  /** The tenant's share of the GPUs, in relation to that of others; 1 when absent. */
  weight?: number;
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
  /** Epoch milliseconds; what the job pays for begins here. */
  grantedAt: number;
  /** The time before it that is charged to it: the boot, if it is the first one, and the idle time. */
  before: { bootMs: number; idleMs: number };
  /** Money per hour; absent when it is not known. */
  ratePerHour?: number;
}

/** What the job says of the node when it gives the lease back. */
export type LeaseOutcome =
  /** The job's run ended well. */
  | "completed"
  /** It did not, but nothing of it runs on the node any more. */
  | "clean"
  /** The node failed the job, or the job's run could not be seen to have ended: retire the instance. */
  | "suspect";

/** A job gives its lease back. */
export interface LeaseRelease {
  leaseId: string;
  outcome: LeaseOutcome;
  /** Epoch milliseconds; what the job pays for ends here. */
  at: number;
}

/** A manager takes a lease away. */
export interface LeaseLoss {
  leaseId: string;
  reason: string;
  /** False when an operator took it, which does not count as an attempt. */
  nodeFault: boolean;
  /** Epoch milliseconds; what the job pays for ends here. */
  at: number;
}

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
  /** It is kept warm: it does not stop for being idle. */
  kept?: boolean;
  /** Why it stops or was lost. */
  reason?: string;
  /** What it was paid for so far; absent until launched. */
  usage?: GpuUsage;
}

/** Where the time of an instance went. Boot, busy and idle add up to the time from `paidFrom` to `until`. */
export interface GpuUsage {
  /** Epoch milliseconds at which the provider began to count. */
  paidFrom: number;
  /** Epoch milliseconds up to which the time is accounted for. */
  until: number;
  bootMs: number;
  busyMs: number;
  idleMs: number;
  /** Leases so far. */
  jobs: number;
  /** Money per hour; absent when it is not known. */
  ratePerHour?: number;
}

export interface GpuChange extends GpuView {
  /** Counts up with each change of one instance; an older one that arrives late is ignored. */
  sequence: number;
  /** The lease that ended: its job has been told, or gave it back. */
  released?: string;
  /** With `released`: the run ended well after so many seconds, which tell how long such runs take. */
  servedSeconds?: number;
  /** An assignment that was not taken: its job goes back into the queue. */
  refused?: string;
}

/** One instance that was paid for, as the ledger keeps it. Boot, busy and idle add up to what was paid. */
export interface LedgerEntry {
  /** The provider's id. */
  workload: string;
  gpuId: string;
  type: string;
  node: string;
  /** ISO 8601 */
  paidFrom: string;
  /** ISO 8601 */
  stoppedAt: string;
  paidSeconds: number;
  bootSeconds: number;
  busySeconds: number;
  idleSeconds: number;
  jobs: number;
  /** Money per hour, and for this instance; absent without a rate. */
  ratePerHour?: number;
  cost?: number;
  /** What the provider gave back of what it took at the launch. */
  refundAmount?: number;
}

/** Limits of a pool, from configuration or an operator. */
export interface PoolLimits {
  /** Instances that are kept warm, job or no job. */
  min: number;
  /** Instances at one time. */
  max: number;
}

/** Why the provider gives no instances. */
export const providerStates = ["refused", "no_balance", "unreachable", "failing"] as const;

export interface ProviderTrouble {
  /**
   * `refused`: the key is not accepted. `no_balance`: the account has no money left. `unreachable`: it does not answer,
   * or with errors. `failing`: it answers and launches nothing.
   */
  state: (typeof providerStates)[number];
  /** For the operator: what the provider said. */
  reason: string;
}

/** How the provider was found: by a call of a launch that failed, or by a look of the reconciler. */
export interface ProviderReport {
  /** Epoch milliseconds at which that began. */
  at: number;
  /** Absent when nothing was wrong. */
  trouble?: ProviderTrouble;
}

export interface ProviderStatus extends ProviderTrouble {
  /** Epoch milliseconds. */
  since: number;
}

/** How the provider was found; `{}` if well, or if nobody has looked. */
export interface ProviderSeen {
  provider?: ProviderStatus;
}

/** What exists beyond what a pool's own messages told it. */
export interface Census {
  /** Epoch milliseconds at which the look began; what changed later is not contradicted. */
  at: number;
  limits: PoolLimits;
  /** What an operator has set, if anything. */
  paused?: boolean;
  /** The nodes of one's own, by name, where nothing is rented. */
  nodes?: string[];
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
  /** In the order in which they will be served. */
  queue: JobOutlook[];
  gpus: GpuView[];
  /** Absent as long as nothing is known against it. */
  provider?: ProviderStatus;
}

/** What a pool tells everybody, about once a second while anything changes and after each census. */
export interface PoolReport {
  /** Epoch milliseconds. */
  at: number;
  status: PoolStatus;
  /** How many jobs of each tenant are in its order. */
  waiting: TenantCounts;
}

/** The jobs that are queued and in no pool's order: their inputs are being prepared, or the order is full. */
export interface ElsewhereReport {
  /** Epoch milliseconds at which the look began. */
  at: number;
  waiting: TenantCounts;
}

export type TenantCounts = [tenant: string, jobs: number][];

/** Why a job that waits does not run yet. */
export const waitingReasons = ["gpu_starting", "gpu_busy", "provider_unavailable", "gpu_limit", "paused"] as const;
export type WaitingReason = (typeof waitingReasons)[number];

/** What a waiting job may expect. */
export interface JobOutlook {
  jobId: string;
  /** 1 is next. */
  position: number;
  waitingFor: WaitingReason;
  /** Until it starts, by estimate; absent when nothing can be said. */
  etaSeconds?: number;
}
