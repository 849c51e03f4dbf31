import { cpus } from "node:os";
import { findProgram } from "../src/dev/binaries.ts";
import { temporalCli } from "../src/dev/programs.ts";
import { s3Executable } from "../test/support/programs.ts";
import { checkChaos, isSecond, mostAtOnce, unusedSeconds } from "./chaosCheck.ts";
import { type ChaosOptions, runChaos } from "./chaosDrill.ts";
import type { ChaosFacts } from "./chaosFacts.ts";

/**
 * A drill: a thousand jobs of all kinds while workers, servers, nodes and workflows die at random and half of the
 * provider's calls fail. Then it is proved that every promise was kept. `CHAOS_SEED`, `CHAOS_JOBS` and
 * `CHAOS_SECONDS` change it.
 */
export async function chaos(): Promise<void> {
  const say = (line: string) => console.log(line);
  const { CHAOS_SEED, CHAOS_JOBS = "1000", CHAOS_SECONDS = "600", TEMPORAL_CLI_PATH } = process.env;
  const seed = CHAOS_SEED === undefined ? Date.now() % 100_000 : Number(CHAOS_SEED);
  const seconds = Number(CHAOS_SECONDS);
  const often = (perTenMinutes: number) => Math.max(1, Math.round((perTenMinutes * seconds) / 600));
  const options: ChaosOptions = {
    seed,
    jobs: Number(CHAOS_JOBS),
    seconds,
    workers: 2,
    troubles: {
      "worker killed": often(20),
      "worker stalled": often(12),
      "Temporal restarted": often(6),
      "node killed": often(20),
      "node vanished": often(15),
      "ComfyUI restarted": often(15),
      "object store down": often(12),
      "object store stalled": often(8),
      "pool terminated": often(12),
      "manager terminated": often(20),
    },
    maxGpus: { media: 6, vision: 2 },
    idleTimeoutMs: 6000,
    instanceBoundSeconds: 90,
    settleSeconds: 400,
    temporalExecutable: await findProgram(temporalCli(TEMPORAL_CLI_PATH), process.env, say),
    s3Executable: await s3Executable(),
    say,
  };
  say(`${cpus().length} cores, seed ${seed}: ${options.jobs} jobs in ${seconds} s, ${options.workers} workers\n`);
  const facts = await runChaos(options);
  const violations = checkChaos(facts);
  report(facts, say);
  say(violations.length === 0 ? "\nEvery promise was kept." : `\n${violations.length} promises were broken:`);
  for (const violation of violations) say(`  - ${violation}`);
  if (violations.length > 0) process.exitCode = 1;
}

function report(facts: ChaosFacts, say: (line: string) => void): void {
  const { jobs, troubles, instances, ledger, deliveries, renders, controlCalls } = facts;
  const states = ["success", "failed", "timed_out", "cancelled"];
  const row = (name: string, cells: (string | number)[]) =>
    say(name.padEnd(34) + cells.map((cell) => String(cell).padStart(10)).join(""));
  say("");
  row("jobs", [...states, "all"]);
  for (const kind of [...new Set(jobs.map((job) => job.kind))].sort()) {
    const ofKind = jobs.filter((job) => job.kind === kind);
    row(kind, [...states.map((state) => ofKind.filter((job) => job.state === state).length), ofKind.length]);
  }
  row("all", [...states.map((state) => jobs.filter((job) => job.state === state).length), jobs.length]);
  say("\ntroubles");
  for (const [name, count] of Object.entries(troubles).sort(([a], [b]) => a.localeCompare(b)))
    row(`  ${name}`, [count]);
  say("\nwhy jobs failed");
  for (const [reason, count] of reasons(facts)) say(`  ${String(count).padStart(5)}  ${reason}`);
  const unused = unusedSeconds(facts)
    .filter(({ instance }) => instance.why === "stopped")
    .map(({ seconds }) => seconds)
    .sort((a, b) => a - b);
  const at = (part: number) => Math.round(unused[Math.min(unused.length - 1, Math.floor(part * unused.length))] ?? 0);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const taken = deliveries.filter((delivery) => delivery.taken);
  const again = jobs.filter(({ attempts }) => attempts > 1).length;
  say("");
  row("seconds of trouble, and to settle", [facts.seconds.toFixed(0), facts.settledAfterSeconds.toFixed(0)]);
  row("calls of the control API, failed", [controlCalls.made, controlCalls.hit]);
  row("jobs nobody had the id of", [jobs.length - facts.submitted.length]);
  row("jobs that got another GPU", [again]);
  row("renders, of them lost", [renders.length, renders.filter(({ outcome }) => outcome === "lost").length]);
  row("instances, of them second ones", [instances.length, instances.filter((one) => isSecond(facts, one)).length]);
  for (const [type, max] of Object.entries(facts.maxGpus)) {
    row(`most ${type}, limit`, [mostAtOnce(instances.filter((one) => one.type === type)), max]);
  }
  row("unused until stopped, s: p50 p99 max", [at(0.5), at(0.99), at(1)]);
  row("webhooks: sent, taken, jobs told", [
    deliveries.length,
    taken.length,
    new Set(taken.map(({ jobId }) => jobId)).size,
  ]);
  const paid = sum(ledger.map(({ paidSeconds }) => paidSeconds));
  row("seconds: ledger, bill", [paid.toFixed(0), sum(instances.map(({ billedSeconds }) => billedSeconds))]);
}

function reasons({ jobs }: ChaosFacts): [string, number][] {
  const counts = new Map<string, number>();
  for (const { state, error = "" } of jobs) {
    if (state !== "failed") continue;
    const reason = error.replaceAll(/sim-[0-9a-f]+|https?:\S+|[0-9a-f]{8}-[0-9a-f-]+/g, "…");
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}
