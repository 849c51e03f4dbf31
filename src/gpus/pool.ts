import type { Assignment, Census, GpuChange, GpuView, LeaseRequest, PoolLimits, PoolStatus } from "./types.ts";

/** Everything that a pool knows. Plain data: it is carried over continue-as-new. Times are epoch milliseconds. */
export interface PoolState {
  type: string;
  limits: PoolLimits;
  /** What an operator set; it stands above the configuration that each census brings. */
  resized: Partial<PoolLimits>;
  paused: boolean;
  /** Undefined until the first census: a pool that may have forgotten instances launches none. */
  censusAt?: number;
  queue: QueuedJob[];
  gpus: PoolGpu[];
  /** When each further GPU that seemed needed is looked at again, and launched if it still is. */
  growAt: number[];
  /** When a job or a GPU was last there. */
  busyAt: number;
}

export interface QueuedJob extends LeaseRequest {
  queuedAt: number;
}

export interface PoolGpu extends GpuView {
  sequence: number;
  /** The request behind `lease`, so that it can be put back if the lease fails. */
  request?: QueuedJob;
}

/** A manager that a census does not list may have started after the census looked; visibility lags. */
const CENSUS_LAG_MS = 10_000;

export function createPool(type: string, limits: PoolLimits, now: number): PoolState {
  return { type, limits, resized: {}, paused: false, queue: [], gpus: [], growAt: [], busyAt: now };
}

/** A job asks for a GPU, perhaps again. */
export function addRequest(pool: PoolState, request: LeaseRequest, now: number): void {
  const known = pool.queue.findIndex((job) => job.jobId === request.jobId);
  const queued = pool.queue[known];
  if (queued !== undefined) {
    if (request.attempt >= queued.attempt) pool.queue[known] = { ...request, queuedAt: queued.queuedAt };
    return;
  }
  const holder = pool.gpus.find((gpu) => gpu.lease?.jobId === request.jobId);
  // Asked for before the grant arrived: the lease answers it. After it, a higher attempt means that it was lost.
  if (holder?.request !== undefined && request.attempt <= holder.request.attempt) return;
  pool.queue.push({ ...request, queuedAt: now });
}

export function withdrawRequest(pool: PoolState, jobId: string): void {
  pool.queue = pool.queue.filter((job) => job.jobId !== jobId);
}

/** A manager tells how its instance is. */
export function applyChange(pool: PoolState, change: GpuChange): void {
  const { released, refused, ...view } = change;
  const index = pool.gpus.findIndex((gpu) => gpu.gpuId === change.gpuId);
  const known = pool.gpus[index];
  if (known !== undefined && known.sequence >= change.sequence) return;
  const lease = known?.lease;
  const request = known?.request;
  const gone = change.state === "stopped" || change.state === "lost";
  // Gone without an answer to its last assignment is a refusal, too.
  if (lease !== undefined && (refused === lease.leaseId || (gone && released !== lease.leaseId)))
    requeue(pool, request);
  if (gone) {
    pool.gpus = pool.gpus.filter((gpu) => gpu !== known);
    return;
  }
  // A manager may speak before it has read the assignment that it was sent: keep it until it is answered.
  const unanswered = lease !== undefined && lease.leaseId !== released && lease.leaseId !== refused;
  const next: PoolGpu = unanswered && request !== undefined ? { ...view, lease, request } : view;
  if (known === undefined) pool.gpus.push(next);
  else pool.gpus[index] = next;
}

/** The manager has the assignment: the job leaves the queue. A refusal comes as a change. */
export function confirmAssignment(pool: PoolState, gpuId: string, assignment: Assignment, now: number): void {
  const gpu = pool.gpus.find((candidate) => candidate.gpuId === gpuId);
  const request = pool.queue.find((job) => job.jobId === assignment.jobId);
  if (gpu === undefined || gpu.state !== "idle" || request === undefined) return;
  Object.assign(gpu, { state: "leased", since: now, lease: assignment, request });
  withdrawRequest(pool, assignment.jobId);
}

/** There is no such manager (any more). A job that waits for its grant is found by the next census. */
export function forgetGpu(pool: PoolState, gpuId: string): void {
  pool.gpus = pool.gpus.filter((gpu) => gpu.gpuId !== gpuId);
}

/** The world as the reconciler saw it, where messages were lost or a workflow was terminated. */
export function applyCensus(pool: PoolState, census: Census, now: number): void {
  pool.limits = { ...census.limits, ...pool.resized };
  pool.censusAt = census.at;
  const settled = (gpu: PoolGpu) => gpu.since < census.at - CENSUS_LAG_MS;
  const seen = new Map(census.gpus.map((gpu) => [gpu.gpuId, gpu]));
  pool.gpus = pool.gpus.filter((gpu) => seen.has(gpu.gpuId) || !settled(gpu));
  for (const view of seen.values()) {
    const index = pool.gpus.findIndex((gpu) => gpu.gpuId === view.gpuId);
    const known = pool.gpus[index];
    // Sequence 0: whatever the manager of an unknown instance says next is newer.
    if (known === undefined) pool.gpus.push({ ...view, sequence: 0 });
    else if (known.state !== view.state && settled(known)) {
      requeue(pool, known.request);
      pool.gpus[index] = { ...view, sequence: known.sequence };
    }
  }
  for (const jobId of census.goneJobs) withdrawRequest(pool, jobId);
  for (const request of census.missingJobs) addRequest(pool, request, now);
}

/** An operator changes the limits, or holds the pool: a paused one neither launches nor assigns. */
export function resize(pool: PoolState, { paused, ...limits }: Partial<PoolLimits> & { paused?: boolean }): void {
  pool.resized = { ...pool.resized, ...limits };
  pool.limits = { ...pool.limits, ...limits };
  pool.paused = paused ?? pool.paused;
}

export function statusOf(pool: PoolState, order: readonly QueuedJob[]): PoolStatus {
  return {
    type: pool.type,
    limits: pool.limits,
    paused: pool.paused,
    queue: order.map(({ jobId }, index) => ({ jobId, position: index + 1, waitingFor: "gpu_busy" })),
    gpus: pool.gpus.map(({ sequence: _sequence, request: _request, ...view }) => view),
  };
}

/** Puts the job of a lease that came to nothing back where it was. */
function requeue(pool: PoolState, request: QueuedJob | undefined): void {
  if (request !== undefined && !pool.queue.some((job) => job.jobId === request.jobId)) pool.queue.push(request);
}
