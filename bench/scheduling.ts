import { writeFile } from "node:fs/promises";
import { plan } from "../src/gpus/policy.ts";
import { addRequest, applyChange, confirmAssignment, createPool, type PoolState } from "../src/gpus/pool.ts";
import type { LeaseRequest } from "../src/gpus/types.ts";
import { fifo, simulateOriginal } from "./schedulingOriginal.ts";
import { plot } from "./schedulingPlot.ts";
import { MAX_GPUS, type Run, type SimulatedJob, simulate } from "./schedulingSimulator.ts";
import { exponential, jobAt, meanService, type Random, seeded, type TraceJob, traces } from "./schedulingTraces.ts";

const SEEDS = [7, 11, 23, 31, 47];
const PLOT = new URL("../docs/scheduling.svg", import.meta.url);
/** Most GPU-hours, and longest p95 wait, that a trace may have; both may be in relation to the original's. */
const goals: Record<string, { ratio: number; wait: (original: number) => number }> = {
  sparse: { ratio: 0.9, wait: () => 45 },
  steady: { ratio: 0.6, wait: () => 45 },
  diurnal: { ratio: 0.6, wait: () => 45 },
  bursty: { ratio: 0.8, wait: (original) => original * 1.15 },
};

type Say = (line: string) => void;

/** What the policy saves and what it costs: docs/scheduling.md, and goals that it prints as met or missed. */
export async function scheduling(): Promise<void> {
  const say: Say = (line) => console.log(line);
  say(`A day of each trace with seeds ${SEEDS.join(", ")}; waits in seconds: p50 / p95 / max\n`);
  for (const [name, make] of Object.entries(traces)) compare(name, make, say);
  deadlines(say);
  fairness(say);
  starvation(say);
  timings(say);
  const jobs = traces.diurnal?.(seeded(7)) ?? [];
  const runs = { original: simulateOriginal(jobs, seeded(1)), ours: simulate(jobs, { random: seeded(2) }) };
  await writeFile(PLOT, plot(runs));
  say(`\nGPUs and queue over the diurnal day: docs/scheduling.svg`);
}

function compare(name: string, make: (random: Random) => TraceJob[], say: Say): void {
  const days = SEEDS.map((seed) => ({ seed, jobs: make(seeded(seed)) }));
  const over = (run: (jobs: TraceJob[], random: Random) => Run) =>
    summary(days.map(({ seed, jobs }) => run(jobs, seeded(seed + 1000))));
  const original = over(simulateOriginal);
  const columns = {
    original,
    "ours, fixed idle": over((jobs, random) => simulate(jobs, { random })),
    "ours, adaptive": over((jobs, random) => simulate(jobs, { random, adaptive: true })),
    "ours, no pre-launch": over((jobs, random) => simulate(jobs, { random, preLaunchMs: { min: 0, max: 0 } })),
  };
  const work = days.reduce((sum, { jobs }) => sum + jobs.reduce((total, job) => total + job.service, 0), 0);
  say(`${name}: ${hours(work / SEEDS.length)} GPU-h of work a day`);
  for (const [column, { gpuSeconds, waits }] of Object.entries(columns)) {
    const ratio = gpuSeconds / original.gpuSeconds;
    const shown = `${hours(gpuSeconds / SEEDS.length)} GPU-h  ${ratio.toFixed(2)} x  ${showWaits(waits)}`;
    say(
      `  ${column.padEnd(20)} ${shown}${column === "ours, fixed idle" ? judge(name, ratio, waits, original.waits) : ""}`,
    );
  }
}

function judge(name: string, ratio: number, waits: number[], originalWaits: number[]): string {
  const goal = goals[name];
  if (goal === undefined) return "";
  const longest = goal.wait(quantile(originalWaits, 0.95));
  const cost = `cost ${verdict(ratio <= goal.ratio)} (${goal.ratio.toFixed(2)} x)`;
  return `   ${cost}, wait ${verdict(quantile(waits, 0.95) <= longest)} (${longest.toFixed(0)} s)`;
}

const verdict = (met: boolean) => (met ? "met" : "MISSED");
const hours = (seconds: number) => (seconds / 3600).toFixed(1).padStart(6);

function showWaits(waits: number[]): string {
  return [0.5, 0.95, 1].map((share) => quantile(waits, share).toFixed(0).padStart(4)).join(" /");
}

/** @param values in order */
function quantile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? 0;
}

function summary(runs: readonly Run[]): { gpuSeconds: number; waits: number[] } {
  const waits = runs.flatMap((run) => run.outcomes.flatMap(({ wait }) => wait ?? []));
  return { gpuSeconds: runs.reduce((sum, run) => sum + run.gpuSeconds, 0), waits: waits.sort((a, b) => a - b) };
}

function arrivals(random: Random, rate: number, until: number, more: Partial<SimulatedJob> = {}): SimulatedJob[] {
  const jobs: SimulatedJob[] = [];
  for (let at = exponential(random, 1 / rate); at < until; at += exponential(random, 1 / rate)) {
    jobs.push({ ...jobAt(at, random), ...more });
  }
  return jobs;
}

function deadlines(say: Say): void {
  const load = 1.3;
  const span = 2 * 3600;
  say(
    `\nDeadlines: ${load} x the load of ${MAX_GPUS} GPUs for ${span / 3600} h, a tenth with complete_in 120 s, the others 1200 s`,
  );
  const days = SEEDS.slice(0, 2).map((seed) => {
    const random = seeded(seed);
    const jobs = arrivals(random, (load * MAX_GPUS) / meanService, span);
    return { seed, jobs: jobs.map((job) => ({ ...job, completeIn: random() < 0.1 ? 120 : 1200 })) };
  });
  const policies = {
    "first in, first out": days.map(({ jobs }) => fifo(jobs)),
    ours: days.map(({ seed, jobs }) => simulate(jobs, { random: seeded(seed + 1) })),
  };
  for (const [name, runs] of Object.entries(policies)) {
    const all = runs.flatMap((run) => run.outcomes);
    const tight = all.filter(({ job }) => job.completeIn === 120);
    const share = (of: typeof all) => `${((100 * of.filter(({ inTime }) => inTime).length) / of.length).toFixed(1)} %`;
    const late = all.filter(({ inTime }) => !inTime).reduce((sum, { held }) => sum + held, 0);
    say(
      `  ${name.padEnd(20)} in time ${share(all)}, of the tight ones ${share(tight)}; on late jobs ${(late / 3600).toFixed(2)} GPU-h`,
    );
  }
}

function fairness(say: Say): void {
  const span = 700;
  const max = 4;
  const indices = SEEDS.slice(0, 3).map((seed) => {
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
  });
  const least = Math.min(...indices);
  say(
    `\nFairness: two tenants, one submits 100 x as much: Jain index ${indices.map((one) => one.toFixed(3)).join(", ")}`,
  );
  say(`  goal 0.95: ${verdict(least >= 0.95)}`);
}

function jain(values: readonly number[]): number {
  const sum = values.reduce((total, one) => total + one, 0);
  return sum ** 2 / (values.length * values.reduce((total, one) => total + one ** 2, 0));
}

function starvation(say: Say): void {
  const span = 4 * 3600;
  const max = 4;
  const random = seeded(7);
  const jobs = [
    ...arrivals(random, (1.02 * max) / meanService, span, { priority: "high", completeIn: 600 }),
    ...arrivals(random, 1 / 300, span, { priority: "low", completeIn: 4 * 3600 }),
  ];
  const { outcomes } = simulate(jobs, { random, max });
  for (const priority of ["high", "low"] as const) {
    const mine = outcomes.filter(({ job }) => job.priority === priority);
    const waits = mine.flatMap(({ wait }) => wait ?? []).sort((a, b) => a - b);
    if (priority === "high")
      say(`\nStarvation: high alone wants 1.02 x what ${max} GPUs can do, and every 5 min comes a low`);
    say(`  ${priority.padEnd(5)} ${waits.length} of ${mine.length} served, waits ${showWaits(waits)} s`);
  }
}

function timings(say: Say): void {
  say("\nplan(), 500 GPUs, ms: median / slowest of 50");
  for (const waiting of [100, 1000, 10_000]) {
    const times = ["20 idle", "none idle"].map((what) => {
      const pool = crowdedPool(waiting, what === "20 idle" ? 20 : 0);
      const samples = Array.from({ length: 60 }, () => {
        const startedAt = performance.now();
        plan(pool, NOW, { preLaunchMs: { min: 15_000, max: 30_000 }, lifetimeMs: 7_200_000 }, () => 0.5);
        return performance.now() - startedAt;
      });
      const sorted = samples.slice(10).sort((a, b) => a - b);
      return `${what} ${quantile(sorted, 0.5).toFixed(2)} / ${quantile(sorted, 1).toFixed(2)}`;
    });
    say(`  ${String(waiting).padStart(6)} waiting: ${times.join("; ")}`);
  }
}

const NOW = 10_000_000;

/** 500 GPUs of 600 that are allowed; jobs of all priorities, of 20 tenants, some of which have waited for long. */
function crowdedPool(waiting: number, idle: number): PoolState {
  const random = seeded(waiting);
  const pool: PoolState = { ...createPool("media:fast", { min: 0, max: 600 }, NOW), censusAt: NOW };
  const priorities = ["high", "normal", "low"] as const;
  const request = (jobId: string): LeaseRequest => ({
    jobId,
    attempt: 1,
    tenant: `tenant ${Math.floor(random() * 20)}`,
    priority: priorities[Math.floor(random() * 3)] ?? "normal",
    completeBy: NOW + 60_000 + random() * 3_600_000,
    kind: "csm",
    expectedSeconds: 5 + random() * 60,
  });
  for (let index = 0; index < 500; index += 1) {
    const gpuId = `gpu-${index}`;
    const times = { since: NOW - 60_000 * random(), startedAt: NOW - 600_000, expiresAt: NOW + 6_600_000 };
    applyChange(pool, { gpuId, type: pool.type, state: "idle", sequence: 1, ...times });
    if (index < idle) continue;
    const jobId = `running ${index}`;
    addRequest(pool, request(jobId), NOW);
    confirmAssignment(pool, gpuId, { leaseId: gpuId, jobId }, NOW - 5000);
  }
  for (let index = 0; index < waiting; index += 1)
    pool.queue.push({ queuedAt: NOW - random() * 1_200_000, ...request(`job ${index}`) });
  return pool;
}
