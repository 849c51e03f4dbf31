import assert from "node:assert/strict";
import { freePort } from "../../src/dev/temporalServer.ts";
import type { GpuView, LedgerEntry } from "../../src/gpus/types.ts";
import { type Metrics, startMetrics } from "../../src/process/metrics.ts";

describe("the metrics", () => {
  const host = "127.0.0.1";
  let url: string;
  let metrics: Metrics;
  before(async () => {
    const port = await freePort(0, "metrics", () => {});
    url = `http://${host}:${port}`;
    metrics = await startMetrics({ host, port });
  });

  const page = async () => await (await fetch(`${url}/metrics`)).text();
  /** The samples of a metric, by their labels. */
  const samples = async (name: string) =>
    (await page())
      .split("\n")
      .filter((line) => new RegExp(`^c3_render_${name}[ {]`).test(line))
      .map((line) => line.slice(`c3_render_${name}`.length).trim());
  const gpu = (gpuId: string, state: GpuView["state"]): GpuView => {
    return { gpuId, type: "media:fast", state, since: 0, startedAt: 0, expiresAt: 0 };
  };

  it("are served as Prometheus reads them, and nothing else is", async () => {
    const response = await fetch(`${url}/metrics`);
    assert.match(response.headers.get("Content-Type") ?? "", /^text\/plain; version=0\.0\.4/);
    assert.match(await response.text(), /^# HELP process_cpu_user_seconds_total /m);
    assert.equal((await fetch(`${url}/`)).status, 404);
  });

  it("are served nowhere without a port", async () => {
    const { registry } = await startMetrics({ host, port: undefined });
    assert.match(await registry.metrics(), /c3_render_jobs_open 0/);
  });

  it("show what the reconciler saw last, and nothing of before", async () => {
    const gpus = [gpu("a", "idle"), gpu("b", "leased"), gpu("c", "leased")];
    metrics.seen({ gpus, waiting: new Map([["media:fast", 7]]), openJobs: 9, foreign: 1 });
    assert.deepEqual(await samples("gpu_instances"), [
      '{type="media:fast",state="idle"} 1',
      '{type="media:fast",state="leased"} 2',
    ]);
    assert.deepEqual(await samples("jobs_waiting"), ['{type="media:fast"} 7']);
    assert.deepEqual(await samples("jobs_open"), ["9"]);
    assert.deepEqual(await samples("gpu_foreign_instances"), ["1"]);
    metrics.seen({ gpus: [], waiting: new Map(), openJobs: 0, foreign: 0 });
    assert.deepEqual([await samples("gpu_instances"), await samples("jobs_waiting")], [[], []]);
    assert.deepEqual([await samples("jobs_open"), await samples("gpu_foreign_instances")], [["0"], ["0"]]);
  });

  it("add up what stopped instances took and cost", async () => {
    const entry: LedgerEntry = {
      workload: "w",
      gpuId: "g",
      type: "media:fast",
      node: "n",
      paidFrom: "",
      stoppedAt: "",
      paidSeconds: 100,
      bootSeconds: 10,
      busySeconds: 70,
      idleSeconds: 20,
      jobs: 3,
    };
    metrics.instanceStopped({ ...entry, cost: 0.5, refundAmount: 0.25 });
    metrics.instanceStopped(entry);
    assert.deepEqual(await samples("gpu_seconds_total"), [
      '{type="media:fast",use="boot"} 20',
      '{type="media:fast",use="busy"} 140',
      '{type="media:fast",use="idle"} 40',
    ]);
    assert.deepEqual(await samples("gpu_cost_total"), ['{type="media:fast"} 0.5']);
    assert.deepEqual(await samples("gpu_refunded_total"), ['{type="media:fast"} 0.25']);
  });

  it("count what was healed, what was delivered and what was asked", async () => {
    metrics.orphanStopped();
    metrics.jobTerminated();
    metrics.webhookAttempted(true);
    metrics.webhookAttempted(false);
    metrics.requested({ method: "GET", route: "/status/:id", status: 200 }, 0.01);
    assert.deepEqual(await samples("gpu_orphans_stopped_total"), ["1"]);
    assert.deepEqual(await samples("jobs_terminated_total"), ["1"]);
    assert.deepEqual(await samples("webhook_attempts_total"), ['{delivered="true"} 1', '{delivered="false"} 1']);
    assert.deepEqual(await samples("http_request_seconds_count"), [
      '{method="GET",route="/status/:id",status="200"} 1',
    ]);
  });
});
