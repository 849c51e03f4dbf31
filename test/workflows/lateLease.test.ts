import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { ids } from "../../src/contracts/names.ts";
import { assign, releaseLease, renewLease } from "../../src/contracts/signals.ts";
import type { GpuView } from "../../src/gpus/types.ts";
import { taskQueues } from "../../src/temporal/connection.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import type { GpuResult, gpuManager } from "../../src/workflows/gpuManager.ts";
import { connectTestClient } from "../api/support.ts";
import { eventually } from "../support/eventually.ts";
import { testLog } from "../support/runtime.ts";

const TYPE = "media:fast";
const DAY_MS = 86_400_000;

describe("a lease that nobody could renew, because no worker was there", () => {
  let client: Client;
  let connection: NativeConnection;
  const losses: { reason: string }[] = [];

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    connection = await NativeConnection.connect({ address: temporal.address });
  });
  let stop = async () => {};
  after(async () => {
    await stop();
    await connection.close();
    await client.connection.close();
  });

  const activities = {
    launchGpu: async () => ({ workload: "w", node: "n", created: Math.floor(Date.now() / 1000) }),
    awaitGpuReady: async () => {},
    watchGpu: () => new Promise<never>(() => {}),
    stopGpu: async () => ({ ended: [] }),
    reportGpu: async () => ({ delivered: true }),
    grantLease: async () => ({ delivered: true }),
    reportLoss: async (loss: { reason: string }) => {
      losses.push(loss);
      return { delivered: true };
    },
  };

  async function startWorkers() {
    const common = { connection, namespace: client.options.namespace, activities, shutdownForceTime: "1s" };
    const workers = [
      await Worker.create({ ...common, taskQueue: taskQueues.main, workflowBundle: await bundleWorkflows() }),
      await Worker.create({ ...common, taskQueue: taskQueues.gpu }),
    ];
    const running = workers.map((worker) => worker.run());
    return async () => {
      for (const worker of workers) worker.shutdown();
      await Promise.allSettled(running);
    };
  }

  it("is not taken back at once when there is one again, but when it is not renewed even then", async function () {
    this.timeout(120_000);
    const leaseTimeoutMs = 6000;
    const expires = Math.floor(Date.now() / 1000) + 7200;
    const gpuId = ids.gpu(TYPE, expires);
    const times = { bootDelayMs: 0, readyTimeoutMs: DAY_MS, idleTimeoutMs: DAY_MS, replaceAfterMs: DAY_MS };
    stop = await startWorkers();
    const handle = await client.workflow.start<typeof gpuManager>("gpuManager", {
      workflowId: gpuId,
      taskQueue: taskQueues.main,
      args: [{ gpuId, type: TYPE, expires, settings: { ...times, leaseTimeoutMs } }],
    });
    const until = (state: GpuView["state"]) =>
      eventually(`it is ${state}`, async () => {
        const gpu = (await handle.describe()).memo?.gpu as GpuView | undefined;
        return gpu?.state === state ? gpu : undefined;
      });
    await until("idle");
    const jobId = randomUUID();
    const leaseId = `${jobId}/1@${gpuId}`;
    await handle.signal(assign, { leaseId, jobId });
    const { since } = await until("leased");
    await stop();
    await eventually("it is long over", () => Date.now() > since + leaseTimeoutMs + 6000);
    stop = await startWorkers();
    await eventually("the manager has looked", async () => {
      const { events } = await handle.fetchHistory();
      const fired = events?.findLastIndex((event) => event.timerFiredEventAttributes) ?? -1;
      return fired >= 0 && events?.slice(fired).some((event) => event.workflowTaskCompletedEventAttributes);
    });
    // The job, which slept as long, renews it as soon as it can.
    await handle.signal(renewLease, { leaseId });
    await handle.signal(releaseLease, { leaseId, outcome: "clean", at: Date.now() });
    await until("idle");
    assert.deepEqual(losses, []);
    const second = `${jobId}/2@${gpuId}`;
    await handle.signal(assign, { leaseId: second, jobId });
    const { reason }: GpuResult = await handle.result();
    assert.deepEqual([reason, losses.length], ["the lease was not renewed", 1]);
  });
});
