import type { Client } from "@temporalio/client";
import { createApp } from "../api/app.ts";
import { createRateLimits } from "../api/http/rateLimits.ts";
import { listen } from "../api/server.ts";
import { type Config, ownOrigin } from "../config/index.ts";
import type { ProviderTrouble } from "../gpus/types.ts";
import type { Logger } from "../process/log.ts";
import { startMetrics } from "../process/metrics.ts";
import { type Simulator, startSimulator } from "../simulator/simulator.ts";
import { createObjectStore } from "../storage/index.ts";
import { connectClient } from "../temporal/connection.ts";
import { ensureNamespace } from "../temporal/namespace.ts";
import { logProvider } from "../workers/providerNotice.ts";
import { startWorker } from "../workers/worker.ts";
import type { WorkflowBundle } from "../workers/workers.ts";

export interface StackOptions {
  /** With `temporal.address`, and the ports that are to be used. */
  config: Config;
  log: Logger;
  workflowBundle: WorkflowBundle;
  env: NodeJS.ProcessEnv;
  /** Fixed seconds per simulated render. */
  renderSeconds?: number;
  /** The API takes jobs and no worker does them. */
  withoutWorker?: boolean;
}

export interface Stack {
  config: Config;
  apiUrl: string;
  /** Undefined with a real provider. */
  simulator: Simulator | undefined;
  client: Client;
  /** Rejects when a worker fails. */
  finished: Promise<void>;
  /** What is wrong with the provider at the start, if anything. */
  providerTrouble: Promise<ProviderTrouble | undefined>;
  /** Ends API, worker and simulator; what runs in Temporal goes on at the next start. */
  stop(): Promise<void>;
}

const API_GRACE_MS = 2000;

/** Simulator (unless there is a real provider), worker and API in this process. */
export async function startStack(options: StackOptions): Promise<Stack> {
  const { log, workflowBundle, env } = options;
  const simulator = isSimulated(options.config) ? await simulate(options) : undefined;
  const config = withSimulator(trustingItself(options.config), simulator);
  await ensureNamespace(config.temporal);
  const client = await connectClient(config);
  const metrics = await startMetrics(config.metrics);
  const store = createObjectStore(config.storage, "");
  const worker = options.withoutWorker ? undefined : await startWorker(config, workflowBundle, env, metrics);
  if (worker !== undefined) void logProvider(worker.providerTrouble, log);
  const limits = await createRateLimits(config.api, log);
  const stopping = new AbortController();
  const app = createApp({ config, client, store, log, metrics, limits, stopping: stopping.signal });
  const api = await listen(app, config.api, log);
  return {
    config,
    apiUrl: api.url,
    simulator,
    client,
    finished: worker?.finished ?? Promise.resolve(),
    providerTrouble: worker?.providerTrouble ?? Promise.resolve(undefined),
    async stop() {
      stopping.abort();
      await api.close(API_GRACE_MS);
      limits.close();
      await worker?.stop();
      await client.connection.close();
      await simulator?.close();
    },
  };
}

function isSimulated({ gpu: { provider } }: Config): boolean {
  return provider === undefined || provider === "simulator";
}

function simulate({ config, renderSeconds }: StackOptions): Promise<Simulator> {
  const { ffmpegPath, ffprobePath, comput3 } = config;
  return startSimulator({
    ...(comput3.apiKey !== undefined && { apiKey: comput3.apiKey }),
    ...config.simulator,
    ffmpegPath,
    ffprobePath,
    ...(renderSeconds !== undefined && { renderSeconds }),
  });
}

/** Our own files may be inputs, although they are local. */
function trustingItself(config: Config): Config {
  const { inputs, webhooks } = config.trustedOrigins;
  return { ...config, trustedOrigins: { inputs: [...inputs, ownOrigin(config.api)], webhooks } };
}

/** The simulator's samples and receivers are inputs and targets, although they are local. */
function withSimulator(config: Config, simulator: Simulator | undefined): Config {
  if (simulator === undefined) return config;
  const bootDelayMs = Math.min(config.gpu.bootDelayMs, config.simulator.launchSeconds * 1000);
  const { inputs, webhooks } = config.trustedOrigins;
  const { comput3Url: apiUrl, apiKey, nodeUrlTemplate, comfyuiUrlTemplate } = simulator;
  return {
    ...config,
    gpu: { ...config.gpu, bootDelayMs },
    comput3: { ...config.comput3, apiUrl, apiKey, nodeUrlTemplate, comfyuiUrlTemplate },
    modal: config.modal ?? { ...simulator.modal, environment: undefined },
    trustedOrigins: { inputs: [...inputs, simulator.url], webhooks: [...webhooks, simulator.url] },
  };
}
