import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadConfig } from "../src/config/index.ts";
import { ids } from "../src/contracts/names.ts";
import { findProgram } from "../src/dev/binaries.ts";
import { temporalCli } from "../src/dev/programs.ts";
import { type Stack, startStack } from "../src/dev/stack.ts";
import { freePort, startTemporalServer } from "../src/dev/temporalServer.ts";
import { createLogger } from "../src/process/log.ts";
import { installRuntime } from "../src/workers/runtime.ts";
import { bundleWorkflows } from "../src/workers/workers.ts";
import { type Receiver, startReceiver } from "./receiver.ts";
import { createSubmit } from "./submit.ts";

const SINGLE_JOBS = 40;
const BURST_JOBS = 300;
const GPUS = 16;

/**
 * What c3-render adds to a render: warm GPUs, renders of no length, real HTTP at every edge, everything on
 * this machine. Prints the time from submit to webhook, jobs per second, and Temporal's state transitions.
 */
export async function overhead(): Promise<void> {
  const say = (line: string) => console.log(line);
  const log = createLogger("warn");
  installRuntime(log);
  const folder = await mkdtemp(join(tmpdir(), "c3-render-bench-"));
  const executable = await findProgram(temporalCli(process.env.TEMPORAL_CLI_PATH), process.env, say);
  const inMemory = process.env.BENCH_TEMPORAL === "memory";
  const server = await startTemporalServer({ executable, port: 0, say, ...(!inMemory && { dataDir: folder }) });
  const receiver = await startReceiver();
  const loaded = loadConfig({
    PORT: String(await freePort(0, "the API", say)),
    SIM_PORT: "0",
    SIM_SPEED: "0",
    SIM_LAUNCH_SECONDS: "0",
    PRE_LAUNCH_TIMEOUT: "0",
    PRE_LAUNCH_TIMEOUT_MAX: "0",
    MAX_GPUS: String(GPUS),
    RATE_LIMIT: "1000000",
    C3_RENDER_DATA_DIR: folder,
    OUTPUT_DIR: join(folder, "output"),
    TEMPORAL_ADDRESS: server.address,
    TEMPORAL_NAMESPACE: `bench-${randomUUID()}`,
    TRUSTED_ORIGINS: receiver.origin,
    TEMPORAL_PAYLOAD_KEYS: process.env.TEMPORAL_PAYLOAD_KEYS,
  });
  const config = { ...loaded, simulator: { ...loaded.simulator, port: 0 } };
  const stack = await startStack({
    config,
    log: createLogger("silent"),
    workflowBundle: await bundleWorkflows(config.temporal.payloadKeys.length > 0),
    env: process.env,
  });
  const submissions = createSubmit(stack.apiUrl, { say });
  const submit = () => submissions.submit({ text: "Hello.", voice: "conversational_a", notify_url: receiver.url });
  try {
    const kind = inMemory ? "in memory" : "on SQLite";
    say(`${cpus().length} cores, Temporal ${kind}, ${GPUS} GPUs, renders of no length\n`);
    await warmUp(stack, submit, receiver.untilReceived);
    await oneByOne(stack, submit, receiver.untilReceived, say);
    await burst(submit, receiver.untilReceived, say);
    tellOfTrouble(submissions.refused(), receiver, say);
  } finally {
    await stack.stop();
    await receiver.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

type Wait = (id: string) => Promise<number>;

/** Figures of jobs that were refused or failed are not those of renders. */
function tellOfTrouble(refused: number, receiver: Receiver, say: (line: string) => void): void {
  if (refused > 0) say(`${refused} submissions were refused at first: the times include their waiting`);
  for (const [what, count] of receiver.failures()) say(`${count} jobs did not succeed: ${what}`);
  if (receiver.failures().size > 0) process.exitCode = 1;
}

/** Renders until every GPU is there. */
async function warmUp({ simulator }: Stack, submit: () => Promise<string>, untilReceived: Wait): Promise<void> {
  const up = () => simulator?.instances().filter((instance) => instance.ended === undefined).length ?? GPUS;
  while (up() < GPUS) {
    const batch = await Promise.all(Array.from({ length: 4 * GPUS }, submit));
    await Promise.all(batch.map(untilReceived));
  }
}

async function oneByOne(stack: Stack, submit: () => Promise<string>, untilReceived: Wait, say: (line: string) => void) {
  const before = await transitionsOfPool(stack);
  const times: number[] = [];
  const jobs: string[] = [];
  for (let job = 0; job < SINGLE_JOBS; job += 1) {
    const startedAt = performance.now();
    const id = await submit();
    times.push((await untilReceived(id)) - startedAt);
    jobs.push(id);
  }
  times.sort((a, b) => a - b);
  const at = (part: number) => Math.round(times[Math.min(times.length - 1, Math.floor(part * times.length))] ?? 0);
  say(`submit → webhook, one job after the other (${SINGLE_JOBS}): p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
  await delay(500);
  const perJob = await Promise.all(jobs.map((id) => transitions(stack, ids.job(id))));
  const perWebhook = await Promise.all(jobs.map((id) => transitions(stack, ids.webhook(id))));
  const shared = (await transitionsOfPool(stack)) - before;
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / SINGLE_JOBS;
  const parts = { job: mean(perJob), webhook: mean(perWebhook), "pool and managers": shared / SINGLE_JOBS };
  const total = Object.values(parts).reduce((sum, value) => sum + value, 0);
  const shares = Object.entries(parts).map(([name, value]) => `${name} ${value.toFixed(1)}`);
  say(`state transitions per job: ${total.toFixed(1)} (${shares.join(", ")})`);
}

async function burst(submit: () => Promise<string>, untilReceived: Wait, say: (line: string) => void): Promise<void> {
  const startedAt = performance.now();
  const jobs = await Promise.all(Array.from({ length: BURST_JOBS }, submit));
  const accepted = (performance.now() - startedAt) / 1000;
  const ends = await Promise.all(jobs.map(untilReceived));
  const seconds = (Math.max(...ends) - startedAt) / 1000;
  say(
    `burst of ${BURST_JOBS}: ${(BURST_JOBS / seconds).toFixed(1)} jobs/s (accepted in ${accepted.toFixed(1)} s, all told after ${seconds.toFixed(1)} s)`,
  );
}

async function transitions({ client }: Stack, workflowId: string): Promise<number> {
  const { raw } = await client.workflow.getHandle(workflowId).describe();
  return Number(raw.workflowExecutionInfo?.stateTransitionCount ?? 0);
}

async function transitionsOfPool(stack: Stack): Promise<number> {
  const query = "WorkflowType IN ('gpuPool', 'gpuManager') AND ExecutionStatus = 'Running'";
  let sum = 0;
  for await (const { workflowId } of stack.client.workflow.list({ query })) sum += await transitions(stack, workflowId);
  return sum;
}
