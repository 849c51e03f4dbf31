import { setMaxListeners } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadConfig } from "../src/config/index.ts";
import { findProgram } from "../src/dev/binaries.ts";
import { temporalCli } from "../src/dev/programs.ts";
import { startStack } from "../src/dev/stack.ts";
import { freePort } from "../src/dev/temporalServer.ts";
import { createLogger } from "../src/process/log.ts";
import { createClient } from "../src/sdk/index.ts";
import { startTemporal, startWorkerProcesses } from "./chaosServers.ts";
import { startHostileFiles } from "./hostileFiles.ts";
import { treeOf } from "./processTree.ts";

const MIB = 1024 * 1024;
const keys = [
  { name: "hostile", key: "key-of-the-hostile-one" },
  { name: "honest", key: "key-of-the-honest-one" },
] as const;
/** Submissions a minute, which the hostile one uses up. */
const RATE = 300;
const HONEST_EVERY_MS = 2000;
const RENDER_SECONDS = 2;
const GPUS = 12;
/** What an honest job may wait in relation to a time without the other one. */
const MOST_TIMES = 2;
/** Of the worker with all its children. */
const MAX_BYTES = 2048 * MIB;
const SETTLE_MS = 120_000;
const OPEN_AT_ONCE = 200;

interface Scene {
  url: string;
  files: Awaited<ReturnType<typeof startHostileFiles>>;
  sample: string;
}

/**
 * One tenant sends whatever may hurt, as fast as it may, for five minutes (`HOSTILE_SECONDS`), while another one submits an
 * honest job every two seconds: a transcript of a small file.
 */
export async function hostile(): Promise<void> {
  const say = (line: string) => console.log(line);
  const seconds = Number(process.env.HOSTILE_SECONDS ?? "300");
  const folder = await mkdtemp(join(tmpdir(), "c3-render-hostile-"));
  const closers: (() => unknown)[] = [() => rm(folder, { recursive: true, force: true })];
  try {
    const files = await startHostileFiles();
    closers.push(() => files.close());
    const executable = await findProgram(temporalCli(process.env.TEMPORAL_CLI_PATH), process.env, say);
    const temporal = await startTemporal(executable, join(folder, "temporal"));
    closers.push(() => temporal.stop());
    const stack = await startStack({
      config: loadConfig({
        PORT: String(await freePort(0, "the API", () => {})),
        SIM_PORT: "0",
        SIM_LAUNCH_SECONDS: "1",
        GPU_PROVIDER: "simulator",
        C3_API_KEY: "key-of-the-benchmark",
        C3_RENDER_KEYS: JSON.stringify(keys),
        RATE_LIMIT: String(RATE),
        GPU_POOLS: JSON.stringify({ "media:fast": { min: GPUS, max: GPUS }, "ollama_webui:fast": { max: 2 } }),
        TEMPORAL_ADDRESS: temporal.address,
        TEMPORAL_NAMESPACE: "hostile",
        C3_RENDER_DATA_DIR: folder,
        OUTPUT_DIR: join(folder, "output"),
        TRUSTED_ORIGINS: files.origin,
      }),
      log: createLogger("silent"),
      workflowBundle: { code: "" },
      env: process.env,
      withoutWorker: true,
      renderSeconds: RENDER_SECONDS,
    });
    closers.push(() => stack.stop());
    await mkdir(join(folder, "workers"));
    const workers = await startWorkerProcesses(stack.config, 1, join(folder, "workers"));
    closers.push(() => workers.stop());
    const scene = { url: stack.apiUrl, files, sample: `${stack.simulator?.url}/sim/files/voice.wav` };
    say(`${cpus().length} cores; ${GPUS} GPUs, ${RENDER_SECONDS} s a render\n`);
    const missed = await measure(scene, workers.pids, seconds, say);
    missed.push(...workers.failures);
    say(missed.length === 0 ? "\nNobody was hurt." : `\nMISSED:\n${missed.map((line) => `  - ${line}`).join("\n")}`);
    if (missed.length > 0) process.exitCode = 1;
  } finally {
    for (const close of closers.reverse()) await close();
  }
}

async function measure(
  scene: Scene,
  pids: () => number[],
  seconds: number,
  say: (line: string) => void,
): Promise<string[]> {
  await honestJobs(scene, 20);
  const before = await treeOf(pids());
  const alone = await honestJobs(scene, Math.min(60, seconds));
  let peakBytes = 0;
  const watch = setInterval(async () => {
    const bytes = (await treeOf(pids())).reduce((sum, { residentBytes }) => sum + residentBytes, 0);
    peakBytes = Math.max(peakBytes, bytes);
  }, 200);
  const attacker = startAttack(scene);
  const beside = await honestJobs(scene, seconds);
  const attacks = await attacker.stop();
  clearInterval(watch);
  const left = await untilGone(
    pids,
    before.map(({ pid }) => pid),
  );

  const row = (name: string, { waits, steps, failures }: Honest) => {
    say(
      `${name.padEnd(24)} ${String(waits.length).padStart(4)} jobs, ${failures.length} failed;` +
        ` waited ${mean(waits).toFixed(1)} s on average, ${quantile(waits, 0.95).toFixed(1)} s at the 95th percentile`,
    );
    const after = [...steps].map(([what, sum]) => `${what} ${(sum / waits.length).toFixed(1)}`);
    say(`  seconds after the start: ${after.join(", ")}`);
  };
  row("honest, alone", alone);
  row("honest, beside the other", beside);
  say(
    `hostile: ${Object.entries(attacks)
      .map(([what, count]) => `${count} ${what}`)
      .join(", ")}`,
  );
  say(`worker with its children: ${Math.round(peakBytes / MIB)} MiB at most, the limit is ${MAX_BYTES / MIB} MiB`);
  const ratio = mean(beside.waits) / mean(alone.waits);
  say(`the honest ones waited ${ratio.toFixed(2)} times as long, the limit is ${MOST_TIMES}`);
  return [
    ...[...alone.failures, ...beside.failures].map((failure) => `an honest job failed: ${failure}`),
    ...(ratio > MOST_TIMES ? [`honest jobs waited ${ratio.toFixed(2)} times as long`] : []),
    ...(peakBytes > MAX_BYTES ? [`the worker and its children took ${Math.round(peakBytes / MIB)} MiB`] : []),
    ...left.map((command) => `a process was left behind: ${command}`),
  ];
}

interface Honest {
  /** Seconds from a submission to its success. */
  waits: number[];
  /** Seconds until each event of a job, in their sum over all jobs. */
  steps: Map<string, number>;
  failures: string[];
}

async function honestJobs({ url, sample }: Scene, seconds: number): Promise<Honest> {
  const client = createClient({ baseUrl: url, apiKey: keys[1].key });
  const honest: Honest = { waits: [], steps: new Map(), failures: [] };
  const one = async () => {
    const startedAt = performance.now();
    try {
      const id = await client.submit("whisper", { audio_url: sample });
      const { status, error } = await client.wait(id);
      if (status === "success") {
        honest.waits.push((performance.now() - startedAt) / 1000);
        addSteps(honest.steps, (await client.job(id)).timeline);
      } else honest.failures.push(`${status} (${error})`);
    } catch (error) {
      honest.failures.push(String(error));
    }
  };
  const jobs: Promise<void>[] = [];
  for (const until = performance.now() + seconds * 1000; performance.now() < until; ) {
    jobs.push(one());
    await delay(HONEST_EVERY_MS);
  }
  await Promise.all(jobs);
  return honest;
}

/** How long after a job's first event each other one came. */
function addSteps(steps: Map<string, number>, timeline: readonly { at: string; event: string }[]): void {
  const [first] = timeline;
  for (const { at, event } of timeline) {
    const [what = ""] = event.split(":");
    steps.set(what, (steps.get(what) ?? 0) + (Date.parse(at) - Date.parse(first?.at ?? at)) / 1000);
  }
}

function startAttack({ url, files }: Scene) {
  const stopping = new AbortController();
  const counts: Record<string, number> = {};
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1;
  };
  const ids: string[] = [];
  const headers = { "X-C3-RENDER-KEY": keys[0].key, "Content-Type": "application/json" };
  const { signal } = stopping;
  // Two loops wait with it, over and over.
  setMaxListeners(0, signal);
  const open = new Set<{ destroy(): void }>();

  async function post(path: string, body: object = {}): Promise<string> {
    const response = await fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = (await response.json()) as { id?: string };
    if (!response.ok) count(`answers of ${response.status}`);
    return response.ok ? (answer.id ?? "") : "";
  }
  const cancel = (id: string) => post(`/job/${id}`, { status: "cancelled" });

  const { sounds, pictures, origin } = files;
  const bodies: [string, object][] = [
    ...sounds.map((audio_url): [string, object] => ["/whisper", { audio_url }]),
    ...pictures.map((image_url): [string, object] => ["/analyze", { image_url }]),
    ...pictures.map((image_url): [string, object] => ["/portrait", { image_url, text: "Hello." }]),
    // A queue of one's own, with a receiver that says nothing.
    ...Array<[string, object]>(6).fill(["/csm", { text: "Hello.", notify_url: `${origin}/silent.wav` }]),
  ];

  async function submitOne(turn: number): Promise<void> {
    const [path, body] = bodies[turn % bodies.length] ?? ["/csm", {}];
    const id = await post(path, body);
    if (id !== "") ids.push(id);
    count("submissions");
    // What is cancelled in the middle must end there, too.
    const early = turn % 7 === 0 ? ids.at(-3) : undefined;
    if (early !== undefined) await cancel(early);
  }

  /** At the rate that is allowed, however long an answer takes. */
  async function submitAll(): Promise<void> {
    const submitted: Promise<void>[] = [];
    for (let turn = 0; !signal.aborted; turn += 1) {
      submitted.push(submitOne(turn));
      await delay(60_000 / RATE, undefined, { signal }).catch(() => {});
    }
    await Promise.all(submitted);
  }

  /** Streams that nobody reads, bodies that never end, and keys that are wrong. */
  async function pester(): Promise<void> {
    const { hostname, port } = new URL(url);
    for (let turn = 0; !signal.aborted; turn += 1) {
      if (open.size < OPEN_AT_ONCE) {
        const socket = connect(Number(port), hostname);
        socket.on("error", () => {});
        socket.on("close", () => open.delete(socket));
        const id = ids.at(-1);
        const half = `POST /csm HTTP/1.1\r\nHost: ${hostname}:${port}\r\nX-C3-RENDER-KEY: ${keys[0].key}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`;
        const stream = `GET /jobs/${id}/events HTTP/1.1\r\nHost: ${hostname}:${port}\r\nX-C3-RENDER-KEY: ${keys[0].key}\r\n\r\n`;
        socket.write(turn % 2 === 0 ? half : stream);
        open.add(socket);
        count(turn % 2 === 0 ? "half bodies" : "streams");
      }
      if (turn % 4 === 0) {
        await fetch(`${url}/jobs`, { headers: { ...headers, "X-C3-RENDER-KEY": `wrong-key-number-${turn}` }, signal })
          .then((response) => response.arrayBuffer())
          .then(() => count("wrong keys"))
          .catch(() => {});
      }
      await delay(100, undefined, { signal }).catch(() => {});
    }
  }

  const attacks = [submitAll(), pester()];
  return {
    async stop(): Promise<Record<string, number>> {
      stopping.abort();
      await Promise.all(attacks);
      for (const socket of open) socket.destroy();
      // The honest one has an end to it; what is left of this one is cancelled.
      for (const id of ids) await cancel(id);
      return counts;
    },
  };
}

/** Waits until only the processes of before are there. @returns the others that stay */
async function untilGone(pids: () => number[], before: readonly number[]): Promise<string[]> {
  for (const until = performance.now() + SETTLE_MS; ; ) {
    const left = (await treeOf(pids())).filter(({ pid }) => !before.includes(pid));
    if (left.length === 0 || performance.now() > until) return left.map(({ command }) => command);
    await delay(500);
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function quantile(values: readonly number[], share: number): number {
  return values.toSorted((one, other) => one - other)[Math.floor(share * (values.length - 1))] ?? 0;
}
