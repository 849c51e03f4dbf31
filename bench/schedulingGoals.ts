import { fifo, simulateOriginal } from "./schedulingOriginal.ts";
import { MAX_GPUS, type Run, type SimulatedJob, simulate } from "./schedulingSimulator.ts";
import { exponential, jobAt, meanService, type Random, seeded, type TraceJob, traces } from "./schedulingTraces.ts";

/** What the scheduling is to reach, and what it does reach: for the benchmark, which prints it, and a test. */
export const goals = {
  /** Least Jain index of the GPU time of two tenants who both always have work. */
  fairness: 0.95,
  /** Least share of the jobs that end in time, of all and of those with little time. */
  deadlines: 0.95,
  /** Seconds that a job of low priority waits at most. */
  longestLowWait: 720,
};

/** Most GPU-hours in relation to the original's, and longest p95 wait in seconds. */
const traceGoals: Record<TraceName, { ratio: number; wait: (original: number) => number }> = {
  sparse: { ratio: 0.9, wait: () => 45 },
  steady: { ratio: 0.6, wait: () => 45 },
  diurnal: { ratio: 0.6, wait: () => 45 },
  bursty: { ratio: 0.8, wait: (original) => original * 1.15 },
};

export type TraceName = keyof typeof traces;
export const traceNames = ["sparse", "steady", "diurnal", "bursty"] as const satisfies TraceName[];

interface Days {
  gpuSeconds: number;
  /** In order. */
  waits: number[];
}

/** A day of a trace for each seed. */
export function measureTrace(name: TraceName, seeds: readonly number[]) {
  const original = overDays(name, seeds, simulateOriginal);
  const fixed = overDays(name, seeds, (jobs, random) => simulate(jobs, { random }));
  const { ratio, wait } = traceGoals[name];
  const goal = { ratio, wait: wait(quantile(original.waits, 0.95)) };
  const work = seeds.flatMap((seed) => traces[name](seeded(seed))).reduce((sum, { service }) => sum + service, 0);
  return { work, original, fixed, ratio: fixed.gpuSeconds / original.gpuSeconds, goal };
}

export function overDays(
  name: TraceName,
  seeds: readonly number[],
  run: (jobs: TraceJob[], random: Random) => Run,
): Days {
  const runs = seeds.map((seed) => run(traces[name](seeded(seed)), seeded(seed + 1000)));
  const waits = runs.flatMap(({ outcomes }) => outcomes.flatMap(({ wait }) => wait ?? []));
  return { gpuSeconds: runs.reduce((sum, { gpuSeconds }) => sum + gpuSeconds, 0), waits: waits.sort((a, b) => a - b) };
}

/** @param values in order */
export function quantile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
}

function arrivals(random: Random, rate: number, until: number, more: Partial<SimulatedJob> = {}): SimulatedJob[] {
  const jobs: SimulatedJob[] = [];
  for (let at = exponential(random, 1 / rate); at < until; at += exponential(random, 1 / rate)) {
    jobs.push({ ...jobAt(at, random), ...more });
  }
  return jobs;
}

/** Two hours of more jobs than the GPUs can serve, a tenth of them with little time. */
export function measureDeadlines(seeds: readonly number[]) {
  const days = seeds.map((seed) => {
    const random = seeded(seed);
    const jobs = arrivals(random, (1.3 * MAX_GPUS) / meanService, 2 * 3600);
    return { seed, jobs: jobs.map((job) => ({ ...job, completeIn: random() < 0.1 ? 120 : 1200 })) };
  });
  return {
    "first in, first out": inTime(days.map(({ jobs }) => fifo(jobs))),
    ours: inTime(days.map(({ seed, jobs }) => simulate(jobs, { random: seeded(seed + 1) }))),
  };
}

function inTime(runs: readonly Run[]) {
  const all = runs.flatMap(({ outcomes }) => outcomes);
  const share = (of: typeof all) => of.filter((one) => one.inTime).length / of.length;
  const late = all.filter((one) => !one.inTime).reduce((sum, { held }) => sum + held, 0);
  return { all: share(all), tight: share(all.filter(({ job }) => job.completeIn === 120)), lateHours: late / 3600 };
}

/** The Jain index of what two tenants are served, one of whom submits a hundred times as much: 1 is fair, 0.5 is not. */
export function measureFairness(seed: number): number {
  const span = 700;
  const max = 4;
  const random = seeded(seed);
  // Alone more than the GPUs can serve, so that both always have work.
  const rate = (1.2 * max) / meanService;
  const many = arrivals(random, rate * 100, span, { tenant: "many" });
  const jobs = [...many, ...arrivals(random, rate, span, { tenant: "few" })];
  const { outcomes } = simulate(jobs, { random, max, until: span });
  const served = (tenant: string) =>
    outcomes.reduce((sum, { job, wait, endedAt = span }) => {
      return job.tenant === tenant && wait !== undefined ? sum + endedAt - (job.at + wait) : sum;
    }, 0);
  return jain([served("many"), served("few")]);
}

function jain(values: readonly number[]): number {
  const sum = values.reduce((total, one) => total + one, 0);
  return sum ** 2 / (values.length * values.reduce((total, one) => total + one ** 2, 0));
}

/** Jobs of high priority that alone are more than the GPUs can serve, and some of a low one. Waits are in order. */
export function measureStarvation(seed: number) {
  const span = 4 * 3600;
  const max = 4;
  const random = seeded(seed);
  const jobs = [
    ...arrivals(random, (1.02 * max) / meanService, span, { priority: "high", completeIn: 600 }),
    ...arrivals(random, 1 / 300, span, { priority: "low", completeIn: 4 * 3600 }),
  ];
  const { outcomes } = simulate(jobs, { random, max });
  const of = (priority: "high" | "low") => {
    const mine = outcomes.filter(({ job }) => job.priority === priority);
    return { count: mine.length, waits: mine.flatMap(({ wait }) => wait ?? []).sort((a, b) => a - b) };
  };
  return { high: of("high"), low: of("low") };
}
