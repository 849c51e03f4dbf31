import { hostname } from "node:os";
import { fileURLToPath } from "node:url";
import {
  bundleWorkflowCode,
  type CompiledWorkerOptions,
  type InjectedSinks,
  NativeConnection,
  Worker,
  type WorkerOptions,
  type WorkflowBundleWithSourceMap,
} from "@temporalio/worker";
import type { createActivities } from "../activities/index.ts";
import type { Config } from "../config/index.ts";
import type { Metrics } from "../process/metrics.ts";
import { connectionOptions, dataConverter, failureConverterPath, taskQueues } from "../temporal/connection.ts";
import type { PoolSinks } from "../workflows/gpuPool.ts";
import { boundedFailures } from "./boundedFailures.ts";
import { deploymentOptions } from "./deployment.ts";
import { runInputsWorker } from "./inputsWorker.ts";
import { runSinks } from "./taskFailures.ts";

export interface WorkersOptions {
  config: Config;
  connection: NativeConnection;
  activities: ReturnType<typeof createActivities>;
  workflowBundle: WorkflowBundle;
  sinks: InjectedSinks<PoolSinks>;
  metrics: Metrics;
}

/** The workflows as one script: its text, or where it lies. */
export type WorkflowBundle = { code: string } | { codePath: string };

export interface RunningWorkers {
  /** Rejects when a worker fails; resolves after `stop`. */
  finished: Promise<void>;
  /** Stops polling, hands running activities over to other workers, and resolves when all have ended. */
  stop(): Promise<void>;
}

/** Quick activities of the main queue: signals, uploads. Many of them only wait for an answer. */
const MAIN_SLOTS = 500;
/** Most only stand in line: what is at work at one time is decided there, fairly. */
const INPUT_SLOTS = 128;
/** Calls of receivers, each of which may take the whole time limit. */
const WEBHOOK_SLOTS = 1000;
/**
 * How long a step of a workflow may hold the script that runs it, by the clock. The SDK's 5 seconds pass in a long replay on
 * a busy machine, and while a process is paused; then the script is broken off in its middle, and Node may abort.
 */
const STEP_LIMIT = { isolateExecutionTimeout: "1m" } satisfies Pick<CompiledWorkerOptions, "isolateExecutionTimeout">;
const SHUTDOWN_GRACE = "10s";
const SHUTDOWN_FORCE = "20s";

/**
 * One worker per task queue, in this process. Every instance needs two slots of the GPU queue, one that
 * watches and one that runs; a paid GPU must never wait for a slot.
 */
export async function startWorkers(options: WorkersOptions): Promise<RunningWorkers> {
  const { config, connection, activities, sinks, metrics } = options;
  const { workflowBundle, ...versioning } = deploymentOptions(config.temporal, options.workflowBundle);
  const instances = Object.values(config.gpu.pools).reduce((sum, pool) => sum + pool.max, 0);
  const common: Omit<WorkerOptions, "taskQueue"> = {
    // The SDK takes it, and does not declare it.
    ...STEP_LIMIT,
    connection,
    namespace: config.temporal.namespace,
    dataConverter: dataConverter(config.temporal, "throw"),
    activities,
    sinks: { ...runSinks, ...sinks },
    interceptors: { activity: [() => ({ inbound: boundedFailures })] },
    ...versioning,
    identity: `${process.pid}@${hostname()}`,
    maxHeartbeatThrottleInterval: "3s",
    defaultHeartbeatThrottleInterval: "3s",
    shutdownGraceTime: SHUTDOWN_GRACE,
    shutdownForceTime: SHUTDOWN_FORCE,
  };
  const workers = await Promise.all([
    Worker.create({
      ...common,
      taskQueue: taskQueues.main,
      workflowBundle,
      maxConcurrentActivityTaskExecutions: MAIN_SLOTS,
      maxConcurrentLocalActivityExecutions: MAIN_SLOTS,
    }),
    Worker.create({ ...common, taskQueue: taskQueues.gpu, maxConcurrentActivityTaskExecutions: 4 * instances + 16 }),
    Worker.create({
      ...common,
      taskQueue: taskQueues.webhooks,
      workflowBundle,
      maxConcurrentActivityTaskExecutions: WEBHOOK_SLOTS,
    }),
  ]);
  const stopped = new AbortController();
  const inputs = runInputsWorker({
    outputDir: config.outputDir,
    create: () =>
      Worker.create({ ...common, taskQueue: taskQueues.inputs, maxConcurrentActivityTaskExecutions: INPUT_SLOTS }),
    metrics,
    signal: stopped.signal,
  });
  const running = [...workers.map((worker) => worker.run()), inputs];
  const finished = Promise.all(running).then(() => undefined);
  return {
    finished,
    async stop() {
      stopped.abort();
      for (const worker of workers) if (worker.getState() === "RUNNING") worker.shutdown();
      await Promise.allSettled(running);
    },
  };
}

/** The connection that all workers of a process share. */
export function connectWorkers(config: Config): Promise<NativeConnection> {
  return NativeConnection.connect(connectionOptions(config.temporal));
}

/**
 * The workflows as one script; built ahead for production, on the spot otherwise.
 * @param encrypted for workers that have keys: the workflows' failures are encoded
 */
export function bundleWorkflows(encrypted = false): Promise<WorkflowBundleWithSourceMap> {
  return bundleWorkflowCode({
    ...(encrypted && { failureConverterPath }),
    workflowsPath: fileURLToPath(new URL("../workflows/index.ts", import.meta.url)),
    workflowInterceptorModules: [fileURLToPath(new URL("../workflows/interceptors.ts", import.meta.url))],
    logger: { log() {}, trace() {}, debug() {}, info() {}, warn: console.warn, error: console.error },
  });
}
