import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Context } from "@temporalio/activity";
import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { createWatchJob } from "../../src/api/jobs/jobWatch.ts";
import { ids } from "../../src/contracts/names.ts";
import { endJob } from "../../src/contracts/signals.ts";
import { createLogger } from "../../src/process/log.ts";
import { taskQueues } from "../../src/temporal/connection.ts";
import { eventually } from "../support/eventually.ts";
import { testLog } from "../support/runtime.ts";
import { advance } from "./standIns.ts";
import { connectTestClient, report, startTestApi, type TestApi } from "./support.ts";

describe("a job that a worker works on", () => {
  const taskQueue = taskQueues.main;
  const completeBy = "2026-01-01T00:00:00.000Z";
  let client: Client;
  let api: TestApi;
  let workers: Worker[] = [];
  let working: Promise<unknown>;
  let connection: NativeConnection;
  let endModel = () => {};

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    api = await startTestApi({ client });
    connection = await NativeConnection.connect({ address: temporal.address });
    const common = { connection, namespace: client.options.namespace };
    const workflowsPath = fileURLToPath(new URL("./standIns.ts", import.meta.url));
    workers = [
      await Worker.create({ ...common, taskQueue, workflowsPath, activities: { runModel } }),
      await Worker.create({ ...common, taskQueue: taskQueues.gpu, activities: { runModel } }),
    ];
    working = Promise.all(workers.map((worker) => worker.run()));
  });
  after(async () => {
    endModel();
    for (const worker of workers) worker.shutdown();
    await working;
    await connection.close();
    await api.close();
    await client.connection.close();
  });

  async function runModel(): Promise<void> {
    Context.current().heartbeat({ progress: 0.4, detail: "speaking" });
    await new Promise<void>((resolve) => {
      endModel = resolve;
    });
  }

  const viewOf = (id: string, state: "queued" | "running", stage: string) => ({
    id,
    type: "csm",
    state,
    stage,
    completeBy,
    files: [],
  });
  const statusOf = async (id: string) => (await (await api.fetch(`/status/${id}`)).json()) as Record<string, unknown>;

  it("shows the progress of its last heartbeat, and ends as it is marked", async () => {
    const id = randomUUID();
    const view = viewOf(id, "running", "rendering");
    await client.workflow.start("rendering", { workflowId: ids.job(id), taskQueue, args: [view], memo: { view } });
    const rendering = await eventually("the heartbeat shows", async () => {
      const status = await statusOf(id);
      return status.progress === null ? undefined : status;
    });
    assert.deepEqual(rendering, { id, status: "running", stage: "rendering", progress: 0.4 });

    const marked = await api.post(`/job/${id}`, { status: "cancelled", error: "no longer needed" });
    assert.equal(marked.status, 200);
    assert.deepEqual(await marked.json(), { message: `Job ${id} marked as cancelled` });
    assert.deepEqual(await statusOf(id), { id, status: "cancelled", error: "no longer needed" });
    const late = await api.post(`/job/${id}`, { status: "failed" });
    assert.deepEqual(await late.json(), { message: `Job ${id} already cancelled` });
  });

  it("costs a slow reader of its events no memory: it is given the latest state, not all of them", async () => {
    const id = randomUUID();
    const created = new Date().toISOString();
    const accepted = { id: 1, at: created, state: "queued", event: "accepted" };
    const view = { ...viewOf(id, "queued", "waiting"), timeline: [accepted] };
    const options = { workflowId: ids.job(id), taskQueue, args: [view], memo: { view } };
    const handle = await client.workflow.start("advancing", options);
    const stopping = new AbortController();
    const watchJob = createWatchJob({
      client,
      store: api.store,
      log: createLogger("silent"),
      stopping: stopping.signal,
    });
    const slow = watchJob(id, stopping.signal);
    assert.equal((await slow.next()).value?.view.timeline.length, 1);
    for (let event = 0; event < 120; event += 1) await handle.signal(advance, `event ${event}`);
    await handle.signal(endJob, { state: "cancelled" });
    await handle.result();
    const readings = [];
    for await (const { view } of watchJob(id, stopping.signal)) readings.push(view);
    assert.equal(readings.at(-1)?.state, "cancelled");
    const left = [];
    for await (const { view } of slow) left.push(view);
    assert.equal(left.length, 1);
    const entries = left[0]!.timeline.map((entry) => entry.id);
    assert.equal(entries.length, 50);
    assert.deepEqual([entries[0], entries[1], entries.at(-1)], [1, 74, 122]);
    stopping.abort();
  });

  it("makes the service ready", async () => {
    const ready = await eventually("the service is ready", async () => {
      const response = await fetch(`${api.url}/readyz`);
      return response.status === 200 ? await response.json() : undefined;
    });
    assert.deepEqual(ready, { status: "ok" });
  });

  it("says what the provider said to administrators only", async () => {
    const said = "Comput3 /launch answered 401: Invalid API key c3-k…";
    const keys = [
      { name: "anna", key: "the-api-key-of-anna" },
      { name: "ops", key: "the-api-key-of-ops", role: "admin" },
    ];
    const gpuType = "media:fast";
    const strict = await startTestApi({ client, env: { C3_RENDER_KEYS: JSON.stringify(keys) } });
    const id = randomUUID();
    const waitingFor = "provider_unavailable" as const;
    const provider = { state: "refused" as const, reason: said, since: 0 };
    await report(strict, gpuType, { queue: [{ jobId: id, position: 1, waitingFor }], provider });
    const view = { ...viewOf(id, "queued", "waiting"), tenant: "anna" };
    const job = await client.workflow.start("rendering", {
      workflowId: ids.job(id),
      taskQueue: `nobody-${id}`,
      memo: { view, waiting: { gpuType } },
    });
    const seenBy = async (key: string | undefined, path: string) => {
      const headers = key === undefined ? {} : { Authorization: `Bearer ${key}` };
      return (await (await fetch(`${strict.url}${path}`, { headers })).json()) as Record<string, unknown>;
    };
    const waiting = {
      status: "queued",
      stage: "waiting",
      progress: null,
      position: 1,
      waiting_for: "provider_unavailable",
    };
    const neutral = "No GPU can be had at the moment; the job runs as soon as there is one again";
    assert.deepEqual(await seenBy("the-api-key-of-anna", `/status/${id}`), { id, ...waiting, waiting_reason: neutral });
    const told = await seenBy("the-api-key-of-ops", `/status/${id}`);
    assert.deepEqual(told, {
      id,
      ...waiting,
      waiting_reason: `the GPU provider refuses the key (C3_API_KEY): ${said}`,
    });
    const ready = await seenBy(undefined, "/readyz");
    const message = "the GPU provider refuses the key (C3_API_KEY)";
    assert.deepEqual(ready, {
      status: "ok",
      provider: { state: "refused", message, since: "1970-01-01T00:00:00.000Z" },
    });
    assert.deepEqual((await seenBy(undefined, "/readyz?strict=1")).missing, [message]);
    assert.deepEqual((await seenBy("the-api-key-of-ops", `/pools/${gpuType}`)).provider, {
      state: "refused",
      reason: said,
      since: "1970-01-01T00:00:00.000Z",
    });
    await job.terminate();
    await strict.close();
  });

  it("shows its position in the queue that it waits in", async () => {
    const id = randomUUID();
    const gpuType = `test:${id}`;
    const queue = [randomUUID(), id].map((jobId, index) => ({
      jobId,
      position: index + 1,
      waitingFor: "gpu_busy" as const,
    }));
    await report(api, gpuType, { queue });
    const job = await client.workflow.start("rendering", {
      workflowId: ids.job(id),
      taskQueue: `nobody-${id}`,
      memo: { view: viewOf(id, "queued", "waiting"), waiting: { gpuType } },
    });
    const waiting = { stage: "waiting", progress: null, position: 2, waiting_for: "gpu_busy" };
    assert.deepEqual(await statusOf(id), { id, status: "queued", ...waiting });
    await job.terminate();
  });
});
