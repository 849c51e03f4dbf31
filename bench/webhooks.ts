import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Client } from "@temporalio/client";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { z } from "zod";
import { type Config, loadConfig } from "../src/config/index.ts";
import { ids } from "../src/contracts/names.ts";
import { findProgram } from "../src/dev/binaries.ts";
import { temporalCli } from "../src/dev/programs.ts";
import { startTemporalServer } from "../src/dev/temporalServer.ts";
import type { WebhookRequest } from "../src/jobs/webhook.ts";
import { createLogger } from "../src/process/log.ts";
import { createMetrics } from "../src/process/metrics.ts";
import { connectClient } from "../src/temporal/connection.ts";
import { deliveryOptions } from "../src/webhooks/deliveryLog.ts";
import { buildActivities } from "../src/workers/activities.ts";
import { installRuntime } from "../src/workers/runtime.ts";
import { startWorker } from "../src/workers/worker.ts";
import { bundleWorkflows } from "../src/workers/workers.ts";
import type { deliverWebhook } from "../src/workflows/deliverWebhook.ts";
import { letGo, nextMessage, within } from "./children.ts";

const WELL = 40;
const HANGING = 10;
const GOAL_PER_SECOND = 300;
const ENGINE_SECONDS = 15;
/** Attempts at one time when the most is asked for. */
const LOOPS = 100;
const WORKFLOWS = 500;
const WORKFLOW_LOOPS = 20;
const PATIENCE_MS = 120_000;

const origins = z.object({ well: z.array(z.string()), hanging: z.array(z.string()) });
type Receivers = z.infer<typeof origins>;
interface Result {
  perSecond: number;
  p50: number;
  p99: number;
}

/**
 * What one worker process delivers to receivers that answer, without and with a fifth of all receivers (and of
 * all deliveries) being ones that never do: first its activity alone, then whole workflows on Temporal.
 */
export async function webhooks(): Promise<void> {
  const log = createLogger("error");
  installRuntime(log);
  const folder = await mkdtemp(join(tmpdir(), "c3-render-bench-"));
  const args = [String(WELL), String(HANGING)];
  const child = fork(fileURLToPath(new URL("./webhookReceivers.ts", import.meta.url)), args);
  const receivers = origins.parse(await nextMessage(child, "The process of the receivers"));
  const environment = {
    C3_API_KEY: "none",
    C3_API_URL: "http://127.0.0.1:9",
    C3_RENDER_DATA_DIR: folder,
    OUTPUT_DIR: join(folder, "output"),
    WEBHOOK_SECRET: "a secret",
    TRUSTED_ORIGINS: [...receivers.well, ...receivers.hanging].join(","),
  };
  console.log(`${cpus().length} cores, ${WELL} receivers that answer, ${HANGING} that never do\n`);
  try {
    const reached = await measureEngine(loadConfig(environment), receivers);
    await measureWorkflows(environment, folder, receivers, child);
    if (reached < GOAL_PER_SECOND) process.exitCode = 1;
  } finally {
    await letGo(child);
    await rm(folder, { recursive: true, force: true });
  }
}

/** The worker's activity, with its signatures, its guarded connections and its ledger on disk. */
async function measureEngine(config: Config, { well, hanging }: Receivers): Promise<number> {
  const runs: Record<string, string[]> = { "all answer": well, "a fifth hangs": [...well, ...hanging] };
  const most: Result[] = [];
  const paced: Result[] = [];
  for (const [name, targets] of Object.entries(runs)) {
    // Nothing here talks to Temporal. Each run begins with no memory of the receivers.
    const { activities, close } = await buildActivities(config, {} as Client, process.env, createMetrics());
    const context = new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });
    const attempt = async (url: string) => {
      const request = { ...requestTo(url), attempt: 1, isFirst: true, postponed: 0 };
      await context.run(activities.attemptWebhook, request);
    };
    const calls = createCalls(attempt, targets, new Set(hanging));
    const top = await calls.asManyAsPossible();
    const steady = await calls.atRate((GOAL_PER_SECOND * targets.length) / well.length);
    most.push(top);
    paced.push(steady);
    console.log(
      `activity, ${name.padEnd(14)} at most ${top.perSecond.toFixed(0).padStart(4)} deliveries/s;` +
        ` at ${GOAL_PER_SECOND}/s: ${shown(steady)}, at most ${calls.peak()} attempts at one time`,
    );
    await close();
  }
  compare(paced);
  return most[1]?.perSecond ?? 0;
}

function createCalls(
  attempt: (url: string) => Promise<void>,
  targets: readonly string[],
  hanging: ReadonlySet<string>,
) {
  let turn = 0;
  let inFlight = 0;
  let peak = 0;
  const broken: unknown[] = [];

  /** The next receiver in turn. Resolves at once for one that hangs, which nobody waits for. */
  async function next(done: (ms: number) => void): Promise<void> {
    turn += 1;
    const target = targets[turn % targets.length] ?? "";
    const startedAt = performance.now();
    inFlight += 1;
    peak = Math.max(peak, inFlight);
    const running = attempt(`${target}/hook`).finally(() => {
      inFlight -= 1;
    });
    if (hanging.has(target)) {
      running.catch((error: unknown) => broken.push(error));
      return;
    }
    await running;
    done(performance.now() - startedAt);
  }

  async function measure(run: (until: number, done: (ms: number) => void) => Promise<void>): Promise<Result> {
    const times: number[] = [];
    const startedAt = performance.now();
    await run(startedAt + ENGINE_SECONDS * 1000, (ms) => times.push(ms));
    if (broken.length > 0) throw broken[0];
    return resultOf(times, performance.now() - startedAt);
  }

  return {
    peak: () => peak,
    asManyAsPossible: () =>
      measure(async (until, done) => {
        const loop = async () => {
          while (performance.now() < until) await next(done);
        };
        await Promise.all(Array.from({ length: LOOPS }, loop));
      }),
    /** @param perSecond of all receivers */
    atRate: (perSecond: number) =>
      measure(async (until, done) => {
        const startedAt = performance.now();
        const running: Promise<void>[] = [];
        while (performance.now() < until) {
          const due = ((performance.now() - startedAt) / 1000) * perSecond;
          while (running.length < due) running.push(next(done));
          await delay(1);
        }
        await Promise.all(running);
      }),
  };
}

/** From the start of a workflow until its receiver is told, with the embedded Temporal server on the same cores. */
async function measureWorkflows(
  environment: Record<string, string>,
  folder: string,
  { well, hanging }: Receivers,
  child: ChildProcess,
): Promise<void> {
  const say = () => {};
  const executable = await findProgram(temporalCli(process.env.TEMPORAL_CLI_PATH), process.env, say);
  const server = await startTemporalServer({ executable, port: 0, say, dataDir: folder });
  const temporal = { TEMPORAL_ADDRESS: server.address, TEMPORAL_NAMESPACE: `bench-${randomUUID()}` };
  const config = loadConfig({ ...environment, ...temporal });
  const worker = await startWorker(config, await bundleWorkflows(), process.env);
  const client = await connectClient(config);
  const told = new Map<string, () => void>();
  child.on("message", (id) => told.get(String(id))?.());

  async function deliver(target: string, isHanging: boolean): Promise<number> {
    const request = requestTo(`${target}/told`);
    const startedAt = performance.now();
    const arrived = new Promise<void>((resolve) => told.set(request.jobId, resolve));
    await client.workflow.start<typeof deliverWebhook>("deliverWebhook", {
      ...deliveryOptions(request),
      args: [{ ...request, retryDelaysMs: config.webhook.retryDelaysMs }],
    });
    if (isHanging) return 0;
    await within(arrived, PATIENCE_MS, `Nobody was told of job ${request.jobId} within ${PATIENCE_MS / 1000} s.`);
    lastDelivered = request.jobId;
    return performance.now() - startedAt;
  }

  let lastDelivered = "";
  try {
    const results: Result[] = [];
    for (const [name, targets] of [
      ["all answer", well],
      ["a fifth hangs", [...well, ...hanging]],
    ] as const) {
      const times: number[] = [];
      let turn = 0;
      const loop = async () => {
        while (times.length < WORKFLOWS) {
          turn += 1;
          const target = targets[turn % targets.length] ?? "";
          const ms = await deliver(target, hanging.includes(target));
          if (!hanging.includes(target)) times.push(ms);
        }
      };
      const startedAt = performance.now();
      await Promise.all(Array.from({ length: WORKFLOW_LOOPS }, loop));
      const result = resultOf(times, performance.now() - startedAt);
      results.push(result);
      console.log(
        `workflows, ${name.padEnd(13)} ${result.perSecond.toFixed(0).padStart(12)} deliveries/s: ${shown(result)}`,
      );
    }
    compare(results);
    const handle = client.workflow.getHandle(ids.webhook(lastDelivered));
    await handle.result();
    const { raw } = await handle.describe();
    console.log(
      `a delivery at the first attempt: ${raw.workflowExecutionInfo?.stateTransitionCount} state transitions`,
    );
  } finally {
    await worker.stop();
    await client.connection.close();
    await server.stop();
  }
}

function requestTo(url: string): WebhookRequest {
  return { jobId: randomUUID(), tenant: "default", url, ending: { state: "failed", error: "a benchmark" } };
}

function resultOf(times: number[], ms: number): Result {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
  return { perSecond: times.length / (ms / 1000), p50: at(0.5), p99: at(0.99) };
}

function shown({ p50, p99 }: Result): string {
  return `p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms`;
}

function compare([without, withHanging]: Result[]): void {
  if (without === undefined || withHanging === undefined) return;
  console.log(`p99 with the hanging receivers ÷ without: ${(withHanging.p99 / without.p99).toFixed(2)}\n`);
}
