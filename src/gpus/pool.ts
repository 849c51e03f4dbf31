import { type Learnt, learnArrival, learnLaunch, learnService, nothingLearnt, serviceRatios } from "./estimates.ts";
import { displacedBy, MAX_WAITING } from "./places.ts";
import type { KnownTrouble } from "./provider.ts";
import { charge, type Shares } from "./shares.ts";
import type { Assignment, Census, GpuChange, GpuView, LeaseRequest, PoolLimits } from "./types.ts";

/** Everything that a pool knows. Plain data: it is carried over continue-as-new. Times are epoch milliseconds. */
export interface PoolState {
  type: string;
  limits: PoolLimits;
  /** What an operator set; it stands above what each census brings. */
  resized: PoolSize;
  paused: boolean;
  /** Undefined until the first census: a pool that may have forgotten instances launches none. */
  censusAt?: number;
  queue: QueuedJob[];
  gpus: PoolGpu[];
  /** When each further GPU that seemed needed is looked at again, and launched if it still is. */
  growAt: number[];
  /** When a job or a GPU was last there. */
  busyAt: number;
  /** How long jobs and launches take, and how often jobs come. */
  learnt: Learnt;
  /** Who is ahead of others in GPU time. */
  shares: Shares;
  /** Grants so far: every so many, it is the turn of who has waited longest. */
  grants: number;
  /** Launches that failed one after another; absent after one that succeeded, and with nodes of one's own. */
  launchFailures?: Failures;
  /** Why the provider gives no instances; absent while nothing is known against it. */
  provider?: KnownTrouble;
  /** Nodes of one's own, by name; absent where instances are rented. */
  nodes?: string[];
  /** Those of them that failed, until a job ends well on them. */
  benched: ({ node: string } & Failures)[];
  /** Instances that ended lately: a census may still list them. */
  departed: { gpuId: string; at: number }[];
}

interface Failures {
  count: number;
  at: number;
}

/** What an operator may set. */
export type PoolSize = Partial<PoolLimits> & { paused?: boolean };

export interface QueuedJob extends LeaseRequest {
  queuedAt: number;
}

export interface PoolGpu extends GpuView {
  sequence: number;
  /** The request behind `lease`, so that it can be put back if the lease fails. */
  request?: QueuedJob;
  /** How long the lease was expected to last when it was granted; its tenant was charged with it. */
  expectedMs?: number;
}

/** A manager that a census does not list may have started after the census looked; visibility lags. */
const CENSUS_LAG_MS = 10_000;
/** And one that has ended may be listed for a while. */
const DEPARTED_MS = 60_000;
const MAX_DEPARTED = 100;

export function createPool(type: string, limits: PoolLimits, now: number): PoolState {
  return {
    type,
    limits,
    resized: {},
    paused: false,
    queue: [],
    gpus: [],
    growAt: [],
    busyAt: now,
    learnt: nothingLearnt(now),
    shares: [],
    grants: 0,
    benched: [],
    departed: [],
  };
}

/**
 * A job asks for a GPU, perhaps again.
 * @param mayDisplace asked only when all places are taken: false keeps them as they are, as earlier versions did
 */
export function addRequest(pool: PoolState, request: LeaseRequest, now: number, mayDisplace = () => true): void {
  const known = pool.queue.findIndex((job) => job.jobId === request.jobId);
  const queued = pool.queue[known];
  if (queued !== undefined) {
    if (request.attempt >= queued.attempt) pool.queue[known] = { queuedAt: queued.queuedAt, ...request };
    return;
  }
  const holder = pool.gpus.find((gpu) => gpu.lease?.jobId === request.jobId);
  // Asked for before the grant arrived: the lease answers it. After it, a higher attempt means that it was lost.
  if (holder?.request !== undefined && request.attempt <= holder.request.attempt) return;
  if (pool.queue.length >= MAX_WAITING) {
    const displaced = mayDisplace() ? displacedBy(request, pool.queue) : undefined;
    if (displaced === undefined) return;
    withdrawRequest(pool, displaced.jobId);
  }
  // With the new property behind the spread V8 gives each object a shape of its own, and plans take twice as long.
  pool.queue.push({ queuedAt: now, ...request });
  learnArrival(pool.learnt, now);
}

export function withdrawRequest(pool: PoolState, jobId: string): void {
  pool.queue = pool.queue.filter((job) => job.jobId !== jobId);
}

/** A manager tells how its instance is. */
export function applyChange(pool: PoolState, change: GpuChange): void {
  const { released, refused, servedSeconds, ...view } = change;
  const index = pool.gpus.findIndex((gpu) => gpu.gpuId === change.gpuId);
  const known = pool.gpus[index];
  if (known !== undefined && known.sequence >= change.sequence) return;
  const lease = known?.lease;
  const gone = change.state === "stopped" || change.state === "lost";
  if (known !== undefined) noticeLaunch(pool, known, change);
  // One that stops has not taken the assignment that it did not answer; the stop itself may take long.
  const isOver = gone || change.state === "stopping";
  if (known !== undefined && lease !== undefined) {
    if (released === lease.leaseId) settleLease(pool, known, change.since, servedSeconds);
    else if (refused === lease.leaseId || isOver) undoLease(pool, known);
  }
  if (gone) {
    if (pool.nodes !== undefined && change.node !== undefined) bench(pool, change.node, change.since);
    forgetGpu(pool, change.gpuId, change.since);
    return;
  }
  // A manager may speak before it has read the assignment that it was sent: keep it until it is answered.
  const unanswered = !isOver && lease !== undefined && lease.leaseId !== released && lease.leaseId !== refused;
  const next: PoolGpu = { ...view, ...(unanswered && leaseOf(known)) };
  if (known === undefined) pool.gpus.push(next);
  else pool.gpus[index] = next;
}

function leaseOf(gpu: PoolGpu | undefined): Partial<PoolGpu> {
  if (gpu?.lease === undefined || gpu.request === undefined) return {};
  const { lease, request, expectedMs } = gpu;
  return { lease, request, ...(expectedMs !== undefined && { expectedMs }) };
}

/** Learns from the end of a launch, be it good or bad. */
function noticeLaunch(pool: PoolState, known: PoolGpu, { state, since }: GpuChange): void {
  if (known.state !== "launching" && known.state !== "starting") return;
  if (known.state === "launching" && (state === "starting" || state === "idle")) delete pool.provider;
  if (state === "idle") {
    learnLaunch(pool.learnt, since - known.startedAt);
    delete pool.launchFailures;
  } else if (pool.nodes === undefined && (state === "stopping" || state === "stopped" || state === "lost")) {
    pool.launchFailures = { count: (pool.launchFailures?.count ?? 0) + 1, at: since };
  }
}

/** A node of one's own is left alone for a while, ever longer until a job ends well on it. */
function bench(pool: PoolState, node: string, now: number): void {
  const count = (pool.benched.find((one) => one.node === node)?.count ?? 0) + 1;
  pool.benched = [...pool.benched.filter((one) => one.node !== node), { node, count, at: now }];
}

/** A lease has ended: what it took is learnt, and its tenant charged with what it really had. */
function settleLease(pool: PoolState, gpu: PoolGpu, now: number, servedSeconds: number | undefined): void {
  const { request, expectedMs = 0 } = gpu;
  if (request === undefined) return;
  if (servedSeconds !== undefined) {
    learnService(pool.learnt, request.kind, request.expectedSeconds * 1000, servedSeconds * 1000, now);
    pool.benched = pool.benched.filter(({ node }) => node !== gpu.node);
  }
  const heldMs = servedSeconds === undefined ? Math.max(0, now - gpu.since) : servedSeconds * 1000;
  chargeTenant(pool, request, heldMs - expectedMs);
}

/** A lease has come to nothing: its job is put back where it was. */
function undoLease(pool: PoolState, { request, expectedMs = 0 }: PoolGpu): void {
  if (request === undefined) return;
  if (!pool.queue.some((job) => job.jobId === request.jobId)) pool.queue.push(request);
  chargeTenant(pool, request, -expectedMs);
}

function chargeTenant(pool: PoolState, { tenant, weight = 1 }: LeaseRequest, ms: number): void {
  const waiting = new Set(pool.queue.map((job) => job.tenant));
  pool.shares = charge(pool.shares, tenant, ms / 1000 / weight, waiting);
}

/** The manager has the assignment: the job leaves the queue. A refusal comes as a change. */
export function confirmAssignment(pool: PoolState, gpuId: string, assignment: Assignment, now: number): void {
  const gpu = pool.gpus.find((candidate) => candidate.gpuId === gpuId);
  const request = pool.queue.find((job) => job.jobId === assignment.jobId);
  if (gpu === undefined || gpu.state !== "idle" || request === undefined) return;
  const expectedMs = request.expectedSeconds * 1000 * serviceRatios(pool.learnt)(request.kind);
  Object.assign(gpu, { state: "leased", since: now, lease: assignment, request, expectedMs });
  chargeTenant(pool, request, expectedMs);
  withdrawRequest(pool, assignment.jobId);
  pool.grants += 1;
}

/** There is a manager for it, which may have spoken already. */
export function confirmLaunch(
  pool: PoolState,
  instance: Pick<GpuView, "gpuId" | "type" | "node" | "expiresAt">,
  now: number,
): void {
  if (pool.gpus.some(({ gpuId }) => gpuId === instance.gpuId)) return;
  pool.gpus.push({ ...instance, state: "launching", since: now, startedAt: now, sequence: 0 });
}

/** The manager knows that it keeps its instance though it is idle, or does not any more. */
export function confirmKeep(pool: PoolState, gpuId: string, kept: boolean): void {
  const gpu = pool.gpus.find((candidate) => candidate.gpuId === gpuId);
  if (gpu !== undefined) gpu.kept = kept;
}

/** The manager was asked to stop: it is given no job any more. */
export function confirmDrain(pool: PoolState, gpuId: string, now: number): void {
  const gpu = pool.gpus.find((candidate) => candidate.gpuId === gpuId);
  if (gpu?.state === "idle") Object.assign(gpu, { state: "draining", since: now });
}

/** There is no such manager (any more). A job that waits for its grant is found by the next census. */
export function forgetGpu(pool: PoolState, gpuId: string, now: number): void {
  pool.gpus = pool.gpus.filter((gpu) => gpu.gpuId !== gpuId);
  pool.departed = [...pool.departed.filter((one) => one.gpuId !== gpuId), { gpuId, at: now }].slice(-MAX_DEPARTED);
}

/** The world as the reconciler saw it, where messages were lost or a workflow was terminated. */
export function applyCensus(pool: PoolState, census: Census, now: number, mayDisplace = () => true): void {
  const { min = census.limits.min, max = census.limits.max, paused = census.paused } = pool.resized;
  pool.limits = { min, max };
  pool.paused = paused ?? pool.paused;
  pool.censusAt = census.at;
  if (census.nodes !== undefined) pool.nodes = census.nodes;
  const settled = (gpu: PoolGpu) => gpu.since < census.at - CENSUS_LAG_MS;
  pool.departed = pool.departed.filter(({ at }) => at > census.at - DEPARTED_MS);
  const departed = new Set(pool.departed.map(({ gpuId }) => gpuId));
  const seen = new Map(census.gpus.filter(({ gpuId }) => !departed.has(gpuId)).map((gpu) => [gpu.gpuId, gpu]));
  pool.gpus = pool.gpus.filter((gpu) => seen.has(gpu.gpuId) || !settled(gpu));
  for (const view of seen.values()) {
    const index = pool.gpus.findIndex((gpu) => gpu.gpuId === view.gpuId);
    const known = pool.gpus[index];
    // Sequence 0: whatever the manager of an unknown instance says next is newer.
    if (known === undefined) pool.gpus.push({ ...view, sequence: 0 });
    else if (known.state !== view.state && settled(known)) {
      undoLease(pool, known);
      pool.gpus[index] = { ...view, sequence: known.sequence };
    }
  }
  for (const jobId of census.goneJobs) withdrawRequest(pool, jobId);
  for (const request of census.missingJobs) addRequest(pool, request, now, mayDisplace);
}

/** An operator changes the limits, or holds the pool: a paused one neither launches nor assigns. */
export function resize(pool: PoolState, size: PoolSize): void {
  pool.resized = { ...pool.resized, ...size };
  const { min = pool.limits.min, max = pool.limits.max, paused = pool.paused } = size;
  pool.limits = { min, max };
  pool.paused = paused;
}
