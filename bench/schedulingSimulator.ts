import { type Plan, type PolicySettings, plan } from "../src/gpus/policy.ts";
import {
  addRequest,
  applyChange,
  confirmAssignment,
  createPool,
  type PoolState,
  withdrawRequest,
} from "../src/gpus/pool.ts";
import type { GpuState, LeaseRequest } from "../src/gpus/types.ts";
import { expectedSeconds, type Random, type TraceJob } from "./schedulingTraces.ts";

/** A day of a pool, second by second of events: the real policy and pool, with managers that are simulated. */
export interface SimulatedJob extends TraceJob, Partial<Pick<LeaseRequest, "tenant" | "priority" | "weight">> {
  /** Seconds from its arrival. */
  completeIn?: number;
}

export interface Outcome {
  job: SimulatedJob;
  /** Seconds from arrival until it held a GPU; absent if it never did. */
  wait?: number;
  /** Seconds it held a GPU. */
  held: number;
  inTime: boolean;
  endedAt?: number;
}

export interface Sample {
  at: number;
  gpus: number;
  queue: number;
}

export interface Run {
  gpuSeconds: number;
  outcomes: Outcome[];
  samples: Sample[];
  launches: number;
}

export interface Options {
  max?: number;
  adaptive?: boolean;
  random: Random;
  /** Stops looking at that second. */
  until?: number;
  preLaunchMs?: PolicySettings["preLaunchMs"];
}

export const LAUNCH = 40;
export const IDLE_TIMEOUT = 300;
export const REPLACE_AFTER = 3600;
export const LIFETIME = 7200;
export const MAX_GPUS = 16;
export const COMPLETE_IN = 3600;
/** From a release until the next job holds the GPU: a few hops of Temporal. */
const HOP = 0.1;
export const SAMPLE_EVERY = 60;

const defaultPreLaunchMs = { min: 15_000, max: 30_000 };

interface Manager {
  gpuId: string;
  state: GpuState;
  since: number;
  startedAt: number;
  sequence: number;
  leaseId?: string;
}

/** A queue of things to do, the earliest first; of those at one time, the first that was added. */
export class Agenda {
  readonly #heap: { at: number; order: number; run: () => void }[] = [];
  #added = 0;

  add(at: number, run: () => void): void {
    this.#added += 1;
    const item = { at, order: this.#added, run };
    const heap = this.#heap;
    let index = heap.push(item) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(item, heap[parent]!)) break;
      heap[index] = heap[parent]!;
      index = parent;
    }
    heap[index] = item;
  }

  take(): { at: number; run: () => void } | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!before(heap[child]!, last)) break;
      heap[index] = heap[child]!;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

function before(a: { at: number; order: number }, b: { at: number; order: number }): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

export function simulate(jobs: readonly SimulatedJob[], options: Options): Run {
  const { max = MAX_GPUS, random, until = Infinity, preLaunchMs = defaultPreLaunchMs } = options;
  const settings: PolicySettings = {
    preLaunchMs,
    lifetimeMs: LIFETIME * 1000,
    ...(options.adaptive && { adaptiveIdleMs: IDLE_TIMEOUT * 1000 }),
  };
  const agenda = new Agenda();
  const pool: PoolState = { ...createPool("media:fast", { min: 0, max }, 0), censusAt: 0 };
  const outcomes: Outcome[] = jobs.map((job) => ({ job, held: 0, inTime: false }));
  const managers = new Map<string, Manager>();
  const run: Run = { gpuSeconds: 0, outcomes, samples: [], launches: 0 };
  let now = 0;
  let wakeAt = Infinity;
  let open = jobs.length;

  const tell = (manager: Manager, state: GpuState, more: { released?: string; servedSeconds?: number } = {}) => {
    if (manager.state !== state) manager.since = now;
    manager.state = state;
    manager.sequence += 1;
    const { gpuId, since, startedAt, sequence } = manager;
    applyChange(pool, {
      gpuId,
      type: pool.type,
      state,
      since: since * 1000,
      startedAt: startedAt * 1000,
      expiresAt: (startedAt + LIFETIME) * 1000,
      sequence,
      ...more,
    });
    if (state === "stopped") {
      managers.delete(gpuId);
      run.gpuSeconds += now - startedAt;
    }
  };

  const launch = () => {
    run.launches += 1;
    const manager: Manager = {
      gpuId: `gpu-${run.launches}`,
      state: "launching",
      since: now,
      startedAt: now,
      sequence: 0,
    };
    managers.set(manager.gpuId, manager);
    tell(manager, "launching");
    agenda.add(now + LAUNCH, () => becomeIdle(manager));
    agenda.add(now + REPLACE_AFTER, () => {
      if (manager.state === "idle") tell(manager, "stopped");
    });
  };

  const becomeIdle = (manager: Manager, more: { released?: string; servedSeconds?: number } = {}) => {
    delete manager.leaseId;
    if (now - manager.startedAt >= REPLACE_AFTER) {
      tell(manager, "stopped", more);
      return;
    }
    tell(manager, "idle", more);
    const { since } = manager;
    agenda.add(now + IDLE_TIMEOUT, () => {
      if (manager.state === "idle" && manager.since === since) tell(manager, "stopped");
    });
  };

  const grant = ({ jobId, attempt, gpuId }: Plan["assign"][number]) => {
    const outcome = outcomes[Number(jobId)]!;
    const manager = managers.get(gpuId)!;
    const leaseId = `${jobId}/${attempt}@${gpuId}`;
    confirmAssignment(pool, gpuId, { leaseId, jobId }, now * 1000);
    Object.assign(manager, { state: "leased", since: now, leaseId });
    const { job } = outcome;
    const startsAt = now + HOP;
    const deadline = job.at + (job.completeIn ?? COMPLETE_IN);
    const endsAt = Math.min(startsAt + job.service, Math.max(deadline, startsAt));
    outcome.wait = startsAt - job.at;
    agenda.add(endsAt, () => {
      outcome.held = now - startsAt;
      outcome.endedAt = now;
      outcome.inTime = startsAt + job.service <= deadline;
      open -= 1;
      becomeIdle(manager, { released: leaseId, ...(outcome.inTime && { servedSeconds: outcome.held }) });
    });
  };

  const decide = () => {
    const decided = plan(pool, now * 1000, settings, random);
    pool.growAt = decided.growAt;
    for (const one of decided.assign) grant(one);
    for (const gpuId of decided.drain) tell(managers.get(gpuId)!, "stopped");
    for (let one = 0; one < decided.launch; one += 1) launch();
    if (decided.wakeAt !== undefined && (decided.wakeAt < wakeAt || wakeAt <= now * 1000)) {
      wakeAt = decided.wakeAt;
      agenda.add(wakeAt / 1000, () => {});
    }
  };

  outcomes.forEach(({ job }, index) => {
    agenda.add(job.at, () => addRequest(pool, requestOf(job, String(index)), now * 1000));
    agenda.add(job.at + (job.completeIn ?? COMPLETE_IN), () => {
      if (!pool.queue.some((queued) => queued.jobId === String(index))) return;
      withdrawRequest(pool, String(index));
      open -= 1;
    });
  });
  const sample = () => {
    run.samples.push({ at: now, gpus: managers.size, queue: pool.queue.length });
    if (open > 0) agenda.add(now + SAMPLE_EVERY, sample);
  };
  agenda.add(0, sample);

  for (let item = agenda.take(); item !== undefined && item.at <= until; item = agenda.take()) {
    now = item.at;
    item.run();
    decide();
  }
  for (const manager of managers.values()) run.gpuSeconds += Math.min(until, now) - manager.startedAt;
  return run;
}

function requestOf(job: SimulatedJob, jobId: string): LeaseRequest {
  const { at, kind, tenant = "default", priority = "normal", weight = 1, completeIn = COMPLETE_IN } = job;
  const completeBy = (at + completeIn) * 1000;
  return {
    jobId,
    attempt: 1,
    tenant,
    priority,
    completeBy,
    kind,
    expectedSeconds: expectedSeconds[kind] ?? 10,
    weight,
  };
}
