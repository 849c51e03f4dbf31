import type { Priority } from "../jobs/submission.ts";
import { knownKinds, serviceRatios } from "./estimates.ts";
import type { PoolState, QueuedJob } from "./pool.ts";
import { leadsOf } from "./shares.ts";

/** A job that waits, with how long it is expected to hold a GPU. */
export interface WaitingJob {
  job: QueuedJob;
  expectedMs: number;
}

/** The queue as it is served, and apart from it the jobs that cannot end in time: they get no GPU. */
export interface ServiceOrder {
  jobs: WaitingJob[];
  hopeless: WaitingJob[];
}

interface Ranked extends WaitingJob {
  rank: number;
  /**
   * Its deadline, later by the time that it takes: of jobs with one deadline the short ones go first, and a job is
   * passed over only by those that come before it has waited as long as it takes.
   */
  turn: number;
  /** It has its place in the order. */
  taken: boolean;
}

/** A job that has waited for so long may not be passed over for ever. */
export const AGED_MS = 600_000;
/** One grant of so many goes to the job that has waited longest, if that is long. */
export const GRANTS_PER_AGED = 8;

/** A job that has less than so many times its expected time left may well fail: it goes behind all others. */
const DOUBT = 1.5;
const DOUBTFUL = 3;
const MOST_VALUE = 2 ** 32;
const MOST_JOBS = 2 ** 17;
const ranks: Record<Priority, number> = { high: 0, normal: 1, low: 2 };

/**
 * Priorities first; inside one, tenants in turn, so that their GPU seconds keep to their weights; of one
 * tenant's jobs, the earliest deadline first. Every eighth grant goes to the job that has waited longest, so
 * that neither a low priority nor a late deadline starves under a steady stream of better ones.
 */
export function serviceOrder(pool: PoolState, now: number): ServiceOrder {
  const ratioOf = serviceRatios(pool.learnt);
  const isKnown = knownKinds(pool.learnt, now);
  const jobs: Ranked[] = [];
  const hopeless: WaitingJob[] = [];
  for (const job of pool.queue) {
    const expectedMs = job.expectedSeconds * 1000 * ratioOf(job.kind);
    // Rough figures say how long a job may take, but not that it must fail.
    const mayTake = isKnown(job.kind) ? expectedMs : 0;
    const left = job.completeBy - now;
    if (left <= 0 || mayTake > left) hopeless.push({ job, expectedMs });
    else
      jobs.push({
        job,
        expectedMs,
        rank: mayTake * DOUBT > left ? DOUBTFUL : ranks[job.priority],
        turn: job.completeBy + expectedMs,
        taken: false,
      });
  }
  const byTurn = sorted(jobs, ({ turn }) => turn - now);
  return { jobs: withTurnsOfTheAged(sharedOut(byTurn, pool), pool.grants, now), hopeless };
}

/**
 * By rank, then by `value` (milliseconds), then as they were. Each key is one number with the job's place in its last
 * digits: plain numbers sort ten times faster than objects, and queues are long.
 */
function sorted(jobs: readonly Ranked[], value: (one: Ranked, index: number) => number, byRank = true): Ranked[] {
  const keys = new Float64Array(jobs.length);
  jobs.forEach((one, index) => {
    const within = Math.min(MOST_VALUE - 1, Math.max(0, Math.round(value(one, index))));
    keys[index] = ((byRank ? one.rank : 0) * MOST_VALUE + within) * MOST_JOBS + index;
  });
  keys.sort();
  const order: Ranked[] = [];
  for (const key of keys) {
    const one = jobs[key - Math.floor(key / MOST_JOBS) * MOST_JOBS];
    if (one !== undefined) order.push(one);
  }
  return order;
}

/** Start-time fair queueing: each job counts for its tenant as soon as it is its turn. */
function sharedOut(jobs: Ranked[], pool: PoolState): Ranked[] {
  const first = jobs[0]?.job.tenant;
  if (jobs.every(({ job }) => job.tenant === first)) return jobs;
  const accounts = new Map([...leadsOf(pool.shares)].map(([tenant, lead]) => [tenant, { lead }]));
  const ahead = jobs.map(({ job: { tenant, weight = 1 }, expectedMs }) => {
    let account = accounts.get(tenant);
    if (account === undefined) {
      account = { lead: 0 };
      accounts.set(tenant, account);
    }
    const { lead } = account;
    account.lead += expectedMs / 1000 / weight;
    return lead;
  });
  // Whoever was corrected downwards may be behind the others.
  return sorted(jobs, (_, index) => ((ahead[index] ?? 0) + 1e6) * 1000);
}

function withTurnsOfTheAged(jobs: Ranked[], grants: number, now: number): WaitingJob[] {
  const old = jobs.filter(({ job, rank }) => rank < DOUBTFUL && job.queuedAt <= now - AGED_MS);
  const aged = sorted(old, ({ job }) => job.queuedAt - now + 1e9, false);
  if (aged.length === 0) return jobs;
  const served: Ranked[] = [];
  let oldest = 0;
  let first = 0;
  while (served.length < jobs.length) {
    while (aged[oldest]?.taken) oldest += 1;
    while (jobs[first]?.taken) first += 1;
    const isTurn = (grants + served.length + 1) % GRANTS_PER_AGED === 0;
    const one = (isTurn ? aged[oldest] : undefined) ?? jobs[first];
    if (one === undefined) break;
    one.taken = true;
    served.push(one);
  }
  return served;
}
