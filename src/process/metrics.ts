import { once } from "node:events";
import { createServer } from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { MetricsConfig } from "../config/index.ts";
import type { GpuView, LedgerEntry, ProviderTrouble } from "../gpus/types.ts";

/** What a process counts, for Prometheus. Names and labels are in docs/operations.md. */
export type Metrics = ReturnType<typeof createMetrics>;

const PREFIX = "c3_render_";
/** What a process has not heard of the provider for so long it does not tell any more. */
const PROVIDER_SEEN_WITHIN_MS = 300_000;

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter({ name: `${PREFIX}${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Gauge({ name: `${PREFIX}${name}`, help, labelNames, registers });

  const paid = counter("gpu_seconds_total", "Seconds of stopped instances that were paid for", ["type", "use"]);
  const cost = counter("gpu_cost_total", "Money that stopped instances cost, where the rate is known", ["type"]);
  const refunded = counter("gpu_refunded_total", "Money that the provider gave back at the stop", ["type"]);
  const instances = gauge("gpu_instances", "Instances that are managed", ["type", "state"]);
  const waiting = gauge("jobs_waiting", "Jobs that wait for a GPU", ["type"]);
  const open = gauge("jobs_open", "Jobs that have not ended");
  const foreign = gauge("gpu_foreign_instances", "Running instances of the account that nobody here launched");
  const orphans = counter("gpu_orphans_stopped_total", "Instances that were stopped because their manager had ended");
  const notified = counter("jobs_terminated_total", "Terminated jobs whose callers were told");
  const webhooks = counter("webhook_attempts_total", "Attempts to deliver a webhook", ["delivered"]);
  const postponed = counter("webhooks_postponed_total", "Attempts that were put off, to spare a receiver", ["reason"]);
  const tasks = counter("workflow_task_failures_total", "Workflow tasks that failed: their workflows stand still", [
    "type",
  ]);
  const paused = gauge("inputs_paused", "Whether this worker takes no inputs, because it cannot write in OUTPUT_DIR");
  let providerSeenAt = 0;
  const provider = new Gauge({
    name: `${PREFIX}provider_up`,
    help: "Whether the GPU provider accepts the key, has money of ours and launches; as this process found it last",
    labelNames: ["reason"] as const,
    registers,
    collect() {
      if (performance.now() - providerSeenAt > PROVIDER_SEEN_WITHIN_MS) this.reset();
    },
  });
  const requests = new Histogram({
    name: `${PREFIX}http_request_seconds`,
    help: "Requests of the API",
    labelNames: ["method", "route", "status"] as const,
    buckets: [0.005, 0.02, 0.1, 0.5, 2, 10],
    registers,
  });

  return {
    registry,

    instanceStopped({ type, bootSeconds, busySeconds, idleSeconds, cost: amount, refundAmount }: LedgerEntry): void {
      paid.inc({ type, use: "boot" }, Math.max(0, bootSeconds));
      paid.inc({ type, use: "busy" }, Math.max(0, busySeconds));
      paid.inc({ type, use: "idle" }, Math.max(0, idleSeconds));
      if (amount !== undefined) cost.inc({ type }, amount);
      if (refundAmount !== undefined) refunded.inc({ type }, refundAmount);
    },

    /** The reconciler's look at everything. */
    seen(look: { gpus: readonly GpuView[]; waiting: ReadonlyMap<string, number>; openJobs: number; foreign: number }) {
      instances.reset();
      for (const { type, state } of look.gpus) instances.inc({ type, state });
      waiting.reset();
      for (const [type, count] of look.waiting) waiting.set({ type }, count);
      open.set(look.openJobs);
      foreign.set(look.foreign);
    },

    /** @param state what is wrong; undefined when all is well */
    providerSeen(state: ProviderTrouble["state"] | undefined): void {
      providerSeenAt = performance.now();
      provider.reset();
      provider.set({ reason: state ?? "ok" }, state === undefined ? 1 : 0);
    },

    workflowTaskFailed: (type: string) => tasks.inc({ type }),
    inputsPaused: (isPaused: boolean) => paused.set(isPaused ? 1 : 0),
    orphanStopped: () => orphans.inc(),
    jobTerminated: () => notified.inc(),
    webhookAttempted: (delivered: boolean) => webhooks.inc({ delivered: String(delivered) }),
    webhookPostponed: (reason: "busy" | "silent") => postponed.inc({ reason }),
    requested: (labels: { method: string; route: string; status: number }, seconds: number) =>
      requests.observe(labels, seconds),
  };
}

/** Metrics that are served at `GET /metrics` in Prometheus' text format, if a port is configured for it. */
export async function startMetrics({ host, port }: MetricsConfig): Promise<Metrics> {
  const metrics = createMetrics();
  if (port === undefined) return metrics;
  const { registry } = metrics;
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { "Content-Type": registry.contentType }).end(text),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  server.listen(port, host);
  await once(server, "listening");
  // It is served for as long as the process does something else.
  server.unref();
  return metrics;
}
