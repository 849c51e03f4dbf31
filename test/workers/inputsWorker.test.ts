import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { createMetrics, type Metrics } from "../../src/process/metrics.ts";
import { runInputsWorker } from "../../src/workers/inputsWorker.ts";
import { connectTestClient } from "../api/support.ts";
import { makeFolder } from "../media/support.ts";
import { eventually } from "../support/eventually.ts";
import { testLog } from "../support/runtime.ts";

describe("the worker that prepares inputs", () => {
  let client: Client;
  let connection: NativeConnection;
  let folder: string;
  let remove: () => Promise<void>;
  let metrics: Metrics;
  let stopping: AbortController;
  let running: Promise<void>;
  const workers: Worker[] = [];

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    connection = await NativeConnection.connect({ address: temporal.address });
  });
  after(async () => {
    await connection.close();
    await client.connection.close();
  });
  beforeEach(async () => {
    ({ folder, remove } = await makeFolder());
    workers.length = 0;
    metrics = createMetrics();
    stopping = new AbortController();
  });
  afterEach(async () => {
    stopping.abort();
    await running;
    assert.ok(workers.every((worker) => worker.getState() === "STOPPED"));
    await remove();
  });

  const outputDir = () => join(folder, "output");
  const activities = { nothing: async () => {} };
  async function create(): Promise<Worker> {
    const { namespace } = client.options;
    const worker = await Worker.create({ connection, namespace, taskQueue: "inputs", activities });
    workers.push(worker);
    return worker;
  }
  function start(): void {
    running = runInputsWorker({ outputDir: outputDir(), create, metrics, signal: stopping.signal, lookMs: 20 });
  }
  const state = (index: number, wanted: string) =>
    eventually(`worker ${index} is ${wanted}`, () => workers[index]?.getState() === wanted || undefined);
  const paused = async () =>
    (await metrics.registry.getSingleMetric("c3_render_inputs_paused")?.get())?.values[0]?.value;

  it("takes none while nothing can be written, and takes them again when something can", async () => {
    start();
    await state(0, "RUNNING");
    assert.equal(await paused(), 0);
    await rm(outputDir(), { recursive: true });
    await writeFile(outputDir(), "in the way of the folder");
    await state(0, "STOPPED");
    assert.equal(await paused(), 1);
    await rm(outputDir());
    await state(1, "RUNNING");
    assert.equal(await paused(), 0);
    assert.equal(workers.length, 2);
  });

  it("does not begin before something can be written", async () => {
    await writeFile(outputDir(), "in the way of the folder");
    start();
    await eventually("it says so", async () => (await paused()) === 1 || undefined);
    assert.equal(workers.length, 0);
    await rm(outputDir());
    await state(0, "RUNNING");
  });

  it("fails when its worker does", async () => {
    running = Promise.resolve();
    const broken = { run: async () => Promise.reject(new Error("broken")), getState: () => "FAILED" };
    const failing = runInputsWorker({
      outputDir: outputDir(),
      create: async () => broken as unknown as Worker,
      metrics,
      signal: stopping.signal,
    });
    await assert.rejects(failing, /broken/);
  });
});
