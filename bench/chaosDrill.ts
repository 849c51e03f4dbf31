import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Config, loadConfig } from "../src/config/index.ts";
import { type Stack, startStack } from "../src/dev/stack.ts";
import { freePort } from "../src/dev/temporalServer.ts";
import { createLogger } from "../src/process/log.ts";
import type { Simulator } from "../src/simulator/simulator.ts";
import { createObjectStore } from "../src/storage/index.ts";
import type { ObjectStore } from "../src/storage/objectStore.ts";
import {
  type ChaosFacts,
  controlCalls,
  jobFacts,
  keysBelow,
  lastUses,
  ledgerFacts,
  managerFacts,
  renderFacts,
} from "./chaosFacts.ts";
import { endJob, type PlannedJob, planJobs, type SubmittedJob, submit } from "./chaosJobs.ts";
import { createRandom } from "./chaosRandom.ts";
import {
  type ChaosReceiver,
  type ObjectServer,
  type Restartable,
  startObjects,
  startReceiver,
  startTemporal,
  startWorkerProcesses,
  type WorkerProcesses,
} from "./chaosServers.ts";
import { keepFailing, makeTrouble, planTroubles, type TroubleCounts } from "./chaosTroubles.ts";

export interface ChaosOptions {
  /** Decides which jobs and troubles there are, and when. */
  seed: number;
  jobs: number;
  /** In which the jobs are submitted and the troubles made. */
  seconds: number;
  workers: number;
  troubles: TroubleCounts;
  maxGpus: { media: number; vision: number };
  idleTimeoutMs: number;
  /** How long an instance that nobody uses may be paid for. */
  instanceBoundSeconds: number;
  /** From the end of the troubles until everything must have ended. */
  settleSeconds: number;
  temporalExecutable: string;
  /** Without it files on disk are the object store, which then makes no trouble. */
  s3Executable: string | undefined;
  say: (line: string) => void;
}

/** Everything that runs during a drill. */
interface Scene {
  stack: Stack;
  simulator: Simulator;
  temporal: Restartable;
  objects: ObjectServer | undefined;
  workers: WorkerProcesses;
  receiver: ChaosReceiver;
  store: ObjectStore;
}

const COMPUT3_TIMEOUT_MS = 1500;
const LOOK_EVERY_MS = 500;
const INSIST_EVERY_MS = 100;
const INSIST_TIMES = 2400;
/** Of those times: how many pass before there is a further job. */
const LURE_AFTER = 50;

/** Lets jobs and troubles loose on a whole system, waits until all has ended, and says what there is to know. */
export async function runChaos(wanted: ChaosOptions): Promise<ChaosFacts> {
  const { s3Executable, troubles } = wanted;
  const withoutServer = { ...troubles, "object store down": 0, "object store stalled": 0 };
  const options = s3Executable === undefined ? { ...wanted, troubles: withoutServer } : wanted;
  const folder = await mkdtemp(join(tmpdir(), "c3-render-chaos-"));
  const closers: (() => Promise<unknown>)[] = [];
  try {
    const scene = await setScene(options, folder, closers);
    const facts = await drill(options, scene);
    await writeFile(
      join(folder, "facts.json"),
      JSON.stringify({ ...facts, lastUse: Object.fromEntries(facts.lastUse) }),
    );
    return facts;
  } finally {
    for (const close of closers.reverse()) await close();
    if (process.env.CHAOS_KEEP === undefined) await rm(folder, { recursive: true, force: true });
    else options.say(`kept: ${folder}`);
  }
}

async function setScene(options: ChaosOptions, folder: string, closers: (() => Promise<unknown>)[]): Promise<Scene> {
  const { seed, workers: count, s3Executable, temporalExecutable } = options;
  const receiver = await startReceiver(createRandom(seed + 1));
  closers.push(() => receiver.close());
  const temporal = await startTemporal(temporalExecutable, join(folder, "temporal"));
  closers.push(() => temporal.stop());
  const objects = s3Executable === undefined ? undefined : await startObjects(s3Executable, join(folder, "s3"));
  closers.push(async () => await objects?.stop());
  const config = await chaosConfig(options, folder, temporal.address, receiver.origin, objects);
  const stack = await startStack({
    config,
    log: createLogger("silent"),
    workflowBundle: { code: "" },
    env: process.env,
    withoutWorker: true,
  });
  closers.push(() => stack.stop());
  const { simulator } = stack;
  if (simulator === undefined) throw new Error("a drill needs the simulator");
  await mkdir(join(folder, "workers"));
  const workers = await startWorkerProcesses(stack.config, count, join(folder, "workers"));
  closers.push(() => workers.stop());
  const store = createObjectStore(stack.config.storage, "");
  return { stack, simulator, temporal, objects, workers, receiver, store };
}

async function chaosConfig(
  { seed, maxGpus, idleTimeoutMs }: ChaosOptions,
  folder: string,
  address: string,
  receiver: string,
  objects: ObjectServer | undefined,
): Promise<Config> {
  const pools = {
    "media:fast": { max: maxGpus.media, rate: 1 },
    "ollama_webui:fast": { max: maxGpus.vision, rate: 1 },
  };
  const comfyuiVersion = createRandom(seed + 2).pick(["0.3.33", "0.3.49", "0.3.64", "latest"] as const);
  const config = loadConfig({
    PORT: String(await freePort(0, "the API", () => {})),
    SIM_PORT: "0",
    SIM_SPEED: "0",
    SIM_LAUNCH_SECONDS: "1",
    SIM_COMFYUI_VERSION: comfyuiVersion,
    GPU_PROVIDER: "simulator",
    C3_API_KEY: "the-key-of-the-drill",
    GPU_POOLS: JSON.stringify(pools),
    GPU_READY_TIMEOUT: "20",
    RENDER_POLLING_INTERVAL: "0.5",
    CANCEL_SETTLE: "10",
    MAX_GPU_ATTEMPTS: "4",
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: `chaos-${randomUUID()}`,
    C3_RENDER_DATA_DIR: folder,
    OUTPUT_DIR: join(folder, "output"),
    STORAGE_SHARED: "true",
    WEBHOOK_TIMEOUT: "3",
    TRUSTED_ORIGINS: receiver,
    LOG_LEVEL: "warn",
  });
  return {
    ...config,
    comput3: { ...config.comput3, timeoutMs: COMPUT3_TIMEOUT_MS },
    ...(objects && { storage: { kind: "s3" as const, s3: objects.s3 } }),
    webhook: { ...config.webhook, retryDelaysMs: [300, 600, 1200, 2400] },
    gpu: {
      ...config.gpu,
      idleTimeoutMs,
      replaceAfterMs: 90_000,
      bootDelayMs: 200,
      launchRetryMs: [300, 600, 1000, 2000, 3000],
      watchIntervalMs: 2000,
      checkRetryMs: 300,
      preLaunchMs: { min: 300, max: 1000 },
      leaseRenewalMs: 3000,
      leaseTimeoutMs: 30_000,
      reconcileIntervalMs: 4000,
      poolLingerMs: 15_000,
    },
  };
}

async function drill(options: ChaosOptions, scene: Scene): Promise<ChaosFacts> {
  const { seed, seconds, say } = options;
  const { stack, simulator, receiver } = scene;
  const troubles: Record<string, number> = {};
  const made = (what: string) => {
    troubles[what] = (troubles[what] ?? 0) + 1;
  };
  const startedAt = performance.now();
  const over = new AbortController();
  const until = (atMs: number) => delay(Math.max(0, startedAt + atMs - performance.now()));
  const failing = keepFailing(createRandom(seed + 3), simulator, {
    timeoutMs: COMPUT3_TIMEOUT_MS,
    signal: over.signal,
    made,
  });
  const submitting = submitAll(options, scene, until, made);
  const lures = await troubleAll(options, scene, until, made);
  const submitted = [...(await submitting), ...lures];
  await until(seconds * 1000);
  over.abort();
  await failing;
  receiver.calm();
  const troubledSeconds = (performance.now() - startedAt) / 1000;
  say(`${submitted.length} jobs and all troubles after ${troubledSeconds.toFixed(0)} s; waiting for the end of all`);
  const unsettled = await settle(options, scene);
  const settledAfterSeconds = (performance.now() - startedAt) / 1000 - troubledSeconds;
  const maxGpus = Object.fromEntries(Object.entries(stack.config.gpu.pools).map(([type, { max }]) => [type, max]));
  return {
    seed,
    seconds: troubledSeconds,
    submitted,
    troubles,
    plannedTroubles: Object.entries(options.troubles).flatMap(([kind, times]) => (times > 0 ? [kind] : [])),
    jobs: await jobFacts(stack.client, scene.store),
    managers: await managerFacts(stack.client),
    instances: simulator.instances(),
    controlCalls: controlCalls(simulator),
    lastUse: lastUses(simulator),
    renders: renderFacts(simulator),
    deliveries: receiver.deliveries,
    ledger: await ledgerFacts(scene.store),
    leftInputs: await keysBelow(scene.store, "inputs/"),
    unsettled: [...scene.workers.failures, ...unsettled],
    settledAfterSeconds,
    maxGpus,
    instanceBoundSeconds: options.instanceBoundSeconds,
  };
}

type Until = (atMs: number) => Promise<void>;

/** Submits every job at its moment, and ends those that somebody thinks better of. */
async function submitAll(
  { seed, jobs, seconds, say }: ChaosOptions,
  { stack, simulator, receiver }: Scene,
  until: Until,
  made: (what: string) => void,
): Promise<SubmittedJob[]> {
  const planned = planJobs(createRandom(seed), jobs, seconds, filesOf(simulator), hookOf(receiver));
  const one = async (job: PlannedJob) => {
    await until(job.atMs);
    const submitted = await submit(stack.apiUrl, job, () => made("submission not taken"));
    if (job.end !== undefined) {
      await delay(job.end.afterMs);
      if (await endJob(stack.apiUrl, submitted.id, job.end.status)) made(`marked as ${job.end.status}`);
    }
    return submitted;
  };
  let count = 0;
  return await Promise.all(
    planned.map(async (job) => {
      const submitted = await one(job);
      count += 1;
      if (count % 100 === 0) say(`${count} of ${jobs} jobs submitted`);
      return submitted;
    }),
  );
}

/**
 * Makes every trouble at its moment; those that take a while go on beside the others.
 * @returns the jobs that were submitted so that there was somebody to be troubled
 */
async function troubleAll(
  { seed, troubles, seconds }: ChaosOptions,
  { stack, simulator, temporal, workers, objects, receiver }: Scene,
  until: Until,
  made: (what: string) => void,
): Promise<SubmittedJob[]> {
  const victims = { simulator, client: stack.client, temporal, workers, objects };
  const lures: Promise<SubmittedJob>[] = [];
  const lure = () => {
    for (const job of planJobs(createRandom(seed + 5), 1, 0, filesOf(simulator), hookOf(receiver))) {
      lures.push(submit(stack.apiUrl, job, () => made("submission not taken")));
    }
  };
  const busy = new Map<string, Promise<void>>();
  const under: Promise<void>[] = [];
  for (const trouble of planTroubles(createRandom(seed + 4), troubles, seconds)) {
    await until(trouble.atMs);
    // One server is not taken down twice at one time.
    const place = trouble.kind.startsWith("object store") ? "object store" : trouble.kind;
    const making = (busy.get(place) ?? Promise.resolve()).then(async () => {
      if (await insistently(() => makeTrouble(trouble, victims), lure)) made(trouble.kind);
    });
    busy.set(place, making);
    under.push(making);
  }
  await Promise.all(under);
  return await Promise.all(lures);
}

/** There may be nobody to be troubled just now: `lure` brings somebody. */
async function insistently(work: () => Promise<boolean>, lure: () => void): Promise<boolean> {
  for (let tries = 1; tries <= INSIST_TIMES; tries += 1) {
    if (await persistently(work)) return true;
    if (tries % LURE_AFTER === 0) lure();
    await delay(INSIST_EVERY_MS);
  }
  return false;
}

const filesOf = (simulator: Simulator) => `${simulator.url}/sim/files`;
const hookOf = (receiver: ChaosReceiver) => `${receiver.origin}/hook`;

/** The drill talks to a server that it takes down itself. */
async function persistently<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (tries === 10) throw error;
      await delay(LOOK_EVERY_MS);
    }
  }
}

/** Waits until jobs, webhooks, managers and instances have ended, and what they cost is written down. @returns those that did not */
async function settle({ settleSeconds }: ChaosOptions, scene: Scene): Promise<string[]> {
  const deadline = performance.now() + settleSeconds * 1000;
  for (;;) {
    const open = await persistently(() => openWork(scene));
    if (open.length === 0 || performance.now() > deadline) return open;
    await delay(LOOK_EVERY_MS);
  }
}

async function openWork({ stack: { client }, simulator, store }: Scene): Promise<string[]> {
  const written = await keysBelow(store, "ledger/");
  const open = simulator
    .instances()
    .filter(({ ended, workload }) => ended === undefined || !written.some((key) => key.includes(workload)))
    .map(({ node, type, why }) => `instance ${node} of ${type} (${why ?? "running"})`);
  const types = "WorkflowType IN ('renderJob', 'gpuManager', 'retireInstance', 'deliverWebhook')";
  for await (const { workflowId } of client.workflow.list({ query: `${types} AND ExecutionStatus = 'Running'` })) {
    open.push(workflowId);
  }
  return open;
}
