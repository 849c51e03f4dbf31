import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readEnvFile } from "../config/envFile.ts";
import { type Config, loadConfig } from "../config/index.ts";
import { fail, refuseHalfAStack, stopOnSignal, warnOfIgnored } from "../process/lifecycle.ts";
import { createLogger } from "../process/log.ts";
import { startMetrics } from "../process/metrics.ts";
import { watchClock } from "../temporal/clockSkew.ts";
import { logProvider } from "./providerNotice.ts";
import { installRuntime } from "./runtime.ts";
import { startWorker } from "./worker.ts";
import { bundleWorkflows, type WorkflowBundle } from "./workers.ts";

/** The process of `npm run worker`: works until a signal ends it, then hands its activities over. */
async function main(): Promise<void> {
  readEnvFile();
  const config = loadConfig(process.env);
  refuseHalfAStack(config);
  const log = createLogger(config.logLevel);
  warnOfIgnored(process.env, log);
  installRuntime(log);
  const workers = await startWorker(
    config,
    await workflowBundle(config),
    process.env,
    await startMetrics(config.metrics),
  );
  const stopping = new AbortController();
  const stopped = stopOnSignal(async (signal) => {
    log.info({ signal }, "stopping");
    stopping.abort();
    await workers.stop();
  });
  // Whoever hears that it runs may end it at once.
  log.info({ namespace: config.temporal.namespace }, "the worker is running");
  void watchClock(workers.client, log, stopping.signal);
  void logProvider(workers.providerTrouble, log);
  await Promise.race([workers.finished, stopped]);
}

/** The build bundles the workflows ahead; from the sources they are bundled here. */
async function workflowBundle({ temporal: { payloadKeys } }: Config): Promise<WorkflowBundle> {
  const encrypted = payloadKeys.length > 0;
  const name = encrypted ? "bundle.encrypted.cjs" : "bundle.cjs";
  const codePath = fileURLToPath(new URL(`../workflows/${name}`, import.meta.url));
  return existsSync(codePath) ? { codePath } : await bundleWorkflows(encrypted);
}

main().catch(fail);
