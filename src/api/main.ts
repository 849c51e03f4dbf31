import { setTimeout as delay } from "node:timers/promises";
import { readEnvFile } from "../config/envFile.ts";
import { loadConfig } from "../config/index.ts";
import { fail, refuseHalfAStack, stopOnSignal, warnOfIgnored } from "../process/lifecycle.ts";
import { createLogger } from "../process/log.ts";
import { startMetrics } from "../process/metrics.ts";
import { createObjectStore } from "../storage/index.ts";
import { watchClock } from "../temporal/clockSkew.ts";
import { connectClient } from "../temporal/connection.ts";
import { ensureNamespace } from "../temporal/namespace.ts";
import { createApp } from "./app.ts";
import { createRateLimits } from "./http/rateLimits.ts";
import { listen } from "./server.ts";

const CLOSE_GRACE_MS = 10_000;

/** The process of `npm run api`: answers until a signal ends it, then lets requests under way finish. */
async function main(): Promise<void> {
  readEnvFile();
  const config = loadConfig(process.env);
  refuseHalfAStack(config);
  const log = createLogger(config.logLevel);
  warnOfIgnored(process.env, log);
  await ensureNamespace(config.temporal);
  const metrics = await startMetrics(config.metrics);
  const client = await connectClient(config);
  const store = createObjectStore(config.storage, config.api.publicUrl ?? "");
  const limits = await createRateLimits(config.api, log);
  const draining = new AbortController();
  const stopping = new AbortController();
  const app = createApp({
    config,
    client,
    store,
    log,
    metrics,
    limits,
    draining: draining.signal,
    stopping: stopping.signal,
  });
  const listening = listen(app, config.api, log);
  // Whoever hears that it listens may end it at once.
  const stopped = stopOnSignal(async (signal) => {
    log.info({ signal }, "stopping");
    // A balancer hears that it is not ready, and sends nothing more, before it is not there.
    draining.abort();
    await delay(config.api.shutdownDelayMs);
    stopping.abort();
    await (await listening).close(CLOSE_GRACE_MS);
    limits.close();
    await client.connection.close();
  });
  void watchClock(client, log, draining.signal);
  await Promise.all([listening, stopped]);
}

main().catch(fail);
