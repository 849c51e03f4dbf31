import { writeFile } from "node:fs/promises";
import { plan } from "../src/gpus/policy.ts";
import { addRequest, applyChange, confirmAssignment, createPool, type PoolState } from "../src/gpus/pool.ts";
import type { LeaseRequest } from "../src/gpus/types.ts";
import {
  goals,
  measureDeadlines,
  measureFairness,
  measureStarvation,
  measureTrace,
  overDays,
  quantile,
  type TraceName,
  traceNames,
} from "./schedulingGoals.ts";
import { simulateOriginal } from "./schedulingOriginal.ts";
import { plot } from "./schedulingPlot.ts";
import { MAX_GPUS, simulate } from "./schedulingSimulator.ts";
import { seeded, traces } from "./schedulingTraces.ts";

const SEEDS = [7, 11, 23, 31, 47];
const PLOT = new URL("../docs/scheduling.svg", import.meta.url);

type Say = (line: string) => void;

/** What the policy saves and what it costs: docs/scheduling.md, and goals that it prints as met or missed. */
export async function scheduling(): Promise<void> {
  const say: Say = (line) => console.log(line);
  say(`A day of each trace with seeds ${SEEDS.join(", ")}; waits in seconds: p50 / p95 / max\n`);
  for (const name of traceNames) compare(name, say);
  deadlines(say);
  fairness(say);
  starvation(say);
  timings(say);
  const jobs = traces.diurnal(seeded(7));
  const runs = { original: simulateOriginal(jobs, seeded(1)), ours: simulate(jobs, { random: seeded(2) }) };
  await writeFile(PLOT, plot(runs));
  say(`\nGPUs and queue over the diurnal day: docs/scheduling.svg`);
}

function compare(name: TraceName, say: Say): void {
  const { work, original, fixed, ratio, goal } = measureTrace(name, SEEDS);
  const columns = {
    original,
    "ours, fixed idle": fixed,
    "ours, adaptive": overDays(name, SEEDS, (jobs, random) => simulate(jobs, { random, adaptive: true })),
    "ours, no pre-launch": overDays(name, SEEDS, (jobs, random) =>
      simulate(jobs, { random, preLaunchMs: { min: 0, max: 0 } }),
    ),
  };
  say(`${name}: ${hours(work / SEEDS.length)} GPU-h of work a day`);
  for (const [column, { gpuSeconds, waits }] of Object.entries(columns)) {
    const relative = `${(gpuSeconds / original.gpuSeconds).toFixed(2)} x`;
    const shown = `${hours(gpuSeconds / SEEDS.length)} GPU-h  ${relative}  ${showWaits(waits)}`;
    const cost = `cost ${verdict(ratio <= goal.ratio)} (${goal.ratio.toFixed(2)} x)`;
    const wait = `wait ${verdict(quantile(waits, 0.95) <= goal.wait)} (${goal.wait.toFixed(0)} s)`;
    say(`  ${column.padEnd(20)} ${shown}${column === "ours, fixed idle" ? `   ${cost}, ${wait}` : ""}`);
  }
}

const verdict = (met: boolean) => (met ? "met" : "MISSED");
const hours = (seconds: number) => (seconds / 3600).toFixed(1).padStart(6);

/** @param waits in order */
function showWaits(waits: number[]): string {
  return [0.5, 0.95, 1].map((share) => quantile(waits, share).toFixed(0).padStart(4)).join(" /");
}

function deadlines(say: Say): void {
  say(`\nDeadlines: 1.3 x the load of ${MAX_GPUS} GPUs for 2 h, a tenth with complete_in 120 s, the others 1200 s`);
  for (const [name, { all, tight, lateHours }] of Object.entries(measureDeadlines(SEEDS.slice(0, 2)))) {
    const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
    const late = `on late jobs ${lateHours.toFixed(2)} GPU-h`;
    say(`  ${name.padEnd(20)} in time ${percent(all)}, of the tight ones ${percent(tight)}; ${late}`);
  }
  say(`  goal ${100 * goals.deadlines} %, of all and of the tight ones`);
}

function fairness(say: Say): void {
  const indices = SEEDS.map(measureFairness);
  const shown = indices.map((one) => one.toFixed(3)).join(", ");
  say(`\nFairness: two tenants, one submits 100 x as much: Jain index ${shown}`);
  say(`  goal ${goals.fairness}: ${verdict(Math.min(...indices) >= goals.fairness)}`);
}

function starvation(say: Say): void {
  say("\nStarvation: high alone wants 1.02 x what 4 GPUs can do, and every 5 min comes a low");
  const measured = measureStarvation(SEEDS[0] ?? 0);
  for (const [priority, { count, waits }] of Object.entries(measured)) {
    say(`  ${priority.padEnd(5)} ${waits.length} of ${count} served, waits ${showWaits(waits)} s`);
  }
  say(
    `  goal, of low ones ${goals.longestLowWait} s: ${verdict(quantile(measured.low.waits, 1) <= goals.longestLowWait)}`,
  );
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
