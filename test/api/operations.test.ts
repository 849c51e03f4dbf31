import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import type { Client } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { censusWanted, drain, resizePool } from "../../src/contracts/signals.ts";
import type { GpuView, LedgerEntry } from "../../src/gpus/types.ts";
import { keys } from "../../src/storage/keys.ts";
import { readPoolOverrides } from "../../src/storage/poolOverrides.ts";
import { eventually } from "../support/eventually.ts";
import { type Mailbox, openMailbox } from "../support/mailbox.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const TYPE = "media:fast";
const HOUR_MS = 3_600_000;
type Body = Record<string, unknown>;

describe("an operator", () => {
  let client: Client;
  let api: TestApi;
  const mailboxes: Mailbox[] = [];
  before(async () => {
    ({ client } = await connectTestClient());
    const pools = { [TYPE]: { min: 1, max: 4, rate: 0.5 }, "ollama_webui:fast": { max: 2 } };
    api = await startTestApi({ client, env: { GPU_POOLS: JSON.stringify(pools) } });
  });
  afterEach(async () => {
    for (const mailbox of mailboxes.splice(0)) await mailbox.close();
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  async function open(workflowId: string): Promise<Mailbox> {
    const mailbox = await openMailbox(client, workflowId);
    mailboxes.push(mailbox);
    return mailbox;
  }
  it("hears that a process that is about to stop is not ready, and is answered all the same", async () => {
    const stopping = await startTestApi({ client });
    try {
      stopping.drain();
      const ready = await stopping.fetch("/readyz");
      const { missing } = (await ready.json()) as Body;
      assert.deepEqual([ready.status, missing], [503, ["the API is stopping"]]);
      assert.equal((await stopping.fetch("/healthz")).status, 200);
      assert.equal((await stopping.post("/csm", { text: "The last one." })).status, 200);
    } finally {
      await stopping.close();
    }
  });

  const send = (method: string, path: string, body?: unknown) =>
    api.fetch(path, {
      method,
      ...(body !== undefined && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
    });
  const bodyOf = async (response: Response, status = 200) => {
    const body = (await response.json()) as Body;
    assert.equal(response.status, status, JSON.stringify(body));
    return body;
  };
  const get = async (path: string) => await bodyOf(await send("GET", path));
  const codeOf = async (response: Response, status: number) => (await bodyOf(response, status)).code;
  const newGpuId = () => ids.gpu(TYPE, Math.floor(Date.now() / 1000) + Math.floor(Math.random() * 1e6));

  describe("who asks for the instances", () => {
    /** A manager in one word: its memo. */
    async function startManager(view: Partial<GpuView>): Promise<GpuView> {
      const now = Date.now();
      const times = { since: now - 1000, startedAt: now - 20_000, expiresAt: now + HOUR_MS };
      const gpu: GpuView = { gpuId: newGpuId(), type: TYPE, state: "idle", ...times, ...view };
      const taskQueue = `nobody-${gpu.gpuId}`;
      const handle = await client.workflow.start("gpuManager", { workflowId: gpu.gpuId, taskQueue, memo: { gpu } });
      mailboxes.push({
        received: async () => [],
        async close() {
          await handle.terminate();
        },
      });
      return gpu;
    }
    const gpuOf = async (id: string) => ((await get("/gpus")).gpus as Body[]).find((gpu) => gpu.id === id);

    it("sees each with its state, its job, its age and what it costs, up to now", async () => {
      const paidFrom = Date.now() - 20_000;
      const lease = { leaseId: "a lease", jobId: randomUUID() };
      const usage = { paidFrom, until: paidFrom + 15_000, bootMs: 5000, busyMs: 4000, idleMs: 6000, jobs: 3 };
      const priced = { ...usage, ratePerHour: 0.5 };
      const view = await startManager({ state: "leased", node: "n-1", workload: "w-1", lease, usage: priced });
      const gpu = await eventually("it is listed", () => gpuOf(view.gpuId));
      const { seconds, cost, ...rest } = gpu;
      assert.deepEqual(rest, {
        id: view.gpuId,
        type: TYPE,
        state: "leased",
        since: new Date(view.since).toISOString(),
        node: "n-1",
        workload: "w-1",
        job: lease.jobId,
        started_at: new Date(view.startedAt).toISOString(),
        expires_at: new Date(view.expiresAt).toISOString(),
        jobs: 3,
      });
      const { paid, boot, busy, idle } = seconds as Record<string, number>;
      assert.deepEqual([boot, idle], [5, 6]);
      assert.ok(paid! >= 20 && Math.abs(paid! - (boot! + busy! + idle!)) < 0.001, JSON.stringify(seconds));
      assert.ok(Math.abs((cost as number) - (paid! / 3600) * 0.5) < 1e-9);
    });

    it("sees one that is being launched, which costs nothing yet", async () => {
      const { gpuId } = await startManager({ state: "launching" });
      const gpu = await eventually("it is listed", () => gpuOf(gpuId));
      assert.deepEqual([gpu.state, gpu.seconds, gpu.cost, gpu.jobs], ["launching", undefined, undefined, 0]);
    });

    it("sees what was stopped within a day, the latest first, and its sum", async () => {
      const entry = (workload: string, hoursAgo: number): LedgerEntry => ({
        workload,
        gpuId: newGpuId(),
        type: TYPE,
        node: "n",
        paidFrom: new Date(Date.now() - (hoursAgo + 1) * HOUR_MS).toISOString(),
        stoppedAt: new Date(Date.now() - hoursAgo * HOUR_MS).toISOString(),
        paidSeconds: 3600,
        bootSeconds: 60,
        busySeconds: 3000,
        idleSeconds: 540,
        jobs: 10,
        ratePerHour: 0.5,
        cost: 0.5,
        refundAmount: 0.25,
      });
      const entries = [entry("earlier", 20), entry("later", 2), entry("too-early", 30)];
      for (const one of entries) {
        const body = Readable.from([Buffer.from(JSON.stringify(one))]);
        await api.store.put(keys.ledger(one.stoppedAt, one.workload), body, { contentType: "application/json" });
      }
      const { stopped, last_24_hours } = await get("/gpus");
      const expected = [entries[1]!, entries[0]!].map((one) => ({
        id: one.gpuId,
        type: TYPE,
        node: "n",
        workload: one.workload,
        paid_from: one.paidFrom,
        stopped_at: one.stoppedAt,
        seconds: { paid: 3600, boot: 60, busy: 3000, idle: 540 },
        jobs: 10,
        cost: 0.5,
        refunded: 0.25,
      }));
      assert.deepEqual(stopped, expected);
      const seconds = { paid: 7200, boot: 120, busy: 6000, idle: 1080 };
      assert.deepEqual(last_24_hours, { instances: 2, jobs: 20, seconds, cost: 1, refunded: 0.5 });
    });
  });

  describe("who drains an instance", () => {
    for (const [body, request] of [
      [undefined, { now: false, reason: "drained by an operator" }],
      [{}, { now: false, reason: "drained by an operator" }],
      [
        { now: true, reason: "too hot" },
        { now: true, reason: "too hot" },
      ],
    ] as const) {
      it(`tells its manager: ${JSON.stringify(body)}`, async () => {
        const id = newGpuId();
        const manager = await open(id);
        const { message } = await bodyOf(await send("POST", `/gpus/${id}/drain`, body));
        assert.match(String(message), request.now ? /is being stopped$/ : /takes no further job and is then stopped$/);
        assert.deepEqual(await manager.received(drain), [request]);
      });
    }

    it("hears what is wrong with the request", async () => {
      const id = newGpuId();
      assert.equal(await codeOf(await send("POST", `/gpus/${id}/drain`), 404), "gpu_not_found");
      const closed = await openMailbox(client, id);
      await closed.close();
      assert.equal(await codeOf(await send("POST", `/gpus/${id}/drain`), 404), "gpu_not_found");
      for (const other of ["reconcile-gpus", ids.pool(TYPE), ids.job(randomUUID()), "gpu-%2e%2e-1%2f"]) {
        assert.equal(await codeOf(await send("POST", `/gpus/${other}/drain`), 400), "invalid_gpu_id", other);
      }
      const pool = await open(ids.pool(TYPE));
      for (const [body, field] of [
        [{ now: "yes" }, "now"],
        [{ reason: "" }, "reason"],
        [{ reason: "x".repeat(201) }, "reason"],
      ] as const) {
        const { errors } = await bodyOf(await send("POST", `/gpus/${id}/drain`, body), 400);
        assert.deepEqual(Object.keys(errors as object), [field]);
      }
      assert.equal((await api.post(`/gpus/${id}/drain`, "{}", { "Content-Type": "text/plain" })).status, 415);
      assert.equal((await send("GET", `/gpus/${id}/drain`)).headers.get("Allow"), "POST");
      assert.deepEqual(await pool.received(drain), []);
    });
  });

  describe("who asks for the pools", () => {
    it("sees each that is configured, also when none runs", async () => {
      const idle = { paused: false, queue: [], gpus: [] };
      const fast = { type: TYPE, limits: { min: 1, max: 4 }, rate: 0.5, ...idle };
      const vision = { type: "ollama_webui:fast", limits: { min: 0, max: 2 }, ...idle };
      assert.deepEqual(await get("/pools"), { pools: [fast, vision] });
      assert.deepEqual(await get(`/pools/${TYPE}`), fast);
      assert.deepEqual(await get(`/api/v0/pools/${TYPE}`), fast);
    });

    for (const type of ["media:large", "toString", "__proto__"]) {
      it(`hears that there is no pool "${type}"`, async () => {
        assert.equal(await codeOf(await send("GET", `/pools/${type}`), 404), "pool_not_found");
        assert.equal(await codeOf(await send("PATCH", `/pools/${type}`, { max: 1 }), 404), "pool_not_found");
      });
    }
  });

  describe("who changes a pool", () => {
    const change = (body: unknown) => send("PATCH", `/pools/${TYPE}`, body);

    it("sees it changed, tells the pool and the reconciler, and finds it so at every later start", async () => {
      const [pool, reconciler] = [await open(ids.pool(TYPE)), await open(ids.reconciler)];
      const changed = await bodyOf(await change({ max: 8 }));
      assert.deepEqual([changed.limits, changed.paused], [{ min: 1, max: 8 }, false]);
      const paused = await bodyOf(await change({ paused: true, min: 0 }));
      assert.deepEqual([paused.limits, paused.paused], [{ min: 0, max: 8 }, true]);
      assert.deepEqual(await pool.received(resizePool), [
        { min: 1, max: 8 },
        { min: 0, max: 8, paused: true },
      ]);
      assert.equal((await reconciler.received(censusWanted)).length, 2);
      assert.deepEqual(await readPoolOverrides(api.store, TYPE), { min: 0, max: 8, paused: true });
    });

    it("need not wait for a pool to run", async () => {
      const { limits } = await bodyOf(await change({ min: 2, max: 3, paused: false }));
      assert.deepEqual(limits, { min: 2, max: 3 });
      assert.deepEqual((await get(`/pools/${TYPE}`)).limits, { min: 2, max: 3 });
    });

    it("hears what is wrong with the change, and nothing is changed", async () => {
      const before = await readPoolOverrides(api.store, TYPE);
      const pool = await open(ids.pool(TYPE));
      for (const [body, field] of [
        [{ min: 1001 }, "min"],
        [{ max: -1 }, "max"],
        [{ max: 1.5 }, "max"],
        [{ max: "4" }, "max"],
        [{ max: null }, "max"],
        [{ paused: 1 }, "paused"],
        [{ min: 9, max: 8 }, "min"],
        [{ min: 900 }, "min"],
      ] as const) {
        const { errors } = await bodyOf(await change(body), 400);
        assert.deepEqual(Object.keys(errors as object), [field], JSON.stringify(body));
      }
      for (const body of [{}, { size: 3 }, [], "max", null]) assert.equal((await change(body)).status, 400);
      assert.equal((await send("PATCH", `/pools/${TYPE}`)).status, 415);
      assert.equal((await send("PUT", `/pools/${TYPE}`, { max: 1 })).status, 405);
      assert.deepEqual(await readPoolOverrides(api.store, TYPE), before);
      assert.deepEqual(await pool.received(resizePool), []);
    });
  });

  it("without a key sees nothing of it", async () => {
    for (const [method, path] of [
      ["GET", "/gpus"],
      ["POST", `/gpus/${newGpuId()}/drain`],
      ["GET", "/pools"],
      ["PATCH", `/pools/${TYPE}`],
    ] as const) {
      assert.equal((await fetch(`${api.url}${path}`, { method })).status, 401, path);
    }
  });
});
