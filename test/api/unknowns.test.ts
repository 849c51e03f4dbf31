import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { status as grpc } from "@grpc/grpc-js";
import type { Client, WorkflowHandle } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import type { LedgerEntry } from "../../src/gpus/types.ts";
import { initialView, type JobSpec } from "../../src/jobs/job.ts";
import { keys } from "../../src/storage/keys.ts";
import type { ObjectStore } from "../../src/storage/objectStore.ts";
import { connectLossyClient, type LossyClient } from "../support/lossyTemporal.ts";
import { createChecker, readDocument, routesOf } from "./openapi/support.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const TYPE = "media:fast";
const ALL = 1_000_000;
type Body = Record<string, unknown>;

describe("what is not known", () => {
  let direct: Client;
  let lossy: LossyClient;
  let api: TestApi;
  let storeFails = false;
  const opened: WorkflowHandle[] = [];
  beforeEach(async () => {
    const temporal = await connectTestClient();
    direct = temporal.client;
    lossy = await connectLossyClient(temporal.address, direct.options.namespace);
    storeFails = false;
    api = await startTestApi({
      client: lossy.client,
      env: { GPU_POOLS: JSON.stringify({ [TYPE]: { min: 1, max: 4 } }) },
      storeThrough: failing,
    });
  });
  afterEach(async () => {
    for (const handle of opened.splice(0)) await handle.terminate();
    await api.close();
    await lossy.client.connection.close();
    await direct.connection.close();
  });

  /** A store that cannot be reached while `storeFails`. */
  function failing(store: ObjectStore): ObjectStore {
    const broken = () => Promise.reject(new Error("connect ECONNREFUSED"));
    return {
      ...store,
      get: (...args) => (storeFails ? broken() : store.get(...args)),
      put: (...args) => (storeFails ? broken() : store.put(...args)),
      async *list(prefix) {
        if (storeFails) await broken();
        yield* store.list(prefix);
      },
    };
  }

  async function open(workflowId: string, memo: Body = {}): Promise<void> {
    opened.push(await direct.workflow.start("mailbox", { workflowId, taskQueue: "nobody works on it", memo }));
  }

  async function waitingJob(patch: object = {}): Promise<string> {
    const id = randomUUID();
    const times = { createdAt: Date.now(), completeBy: Date.now() + 60_000, maxTimeSeconds: 60 };
    const spec = { id, type: "csm", tenant: "default", priority: "normal", ...times } as JobSpec;
    const view = { ...initialView(spec), stage: "waiting", ...patch };
    await open(ids.job(id), { view, waiting: { gpuType: TYPE } });
    return id;
  }

  async function writeEntry(refundAmount?: number): Promise<void> {
    const stoppedAt = new Date().toISOString();
    const seconds = { paidSeconds: 60, bootSeconds: 10, busySeconds: 40, idleSeconds: 10 };
    const entry: LedgerEntry = {
      ...{ workload: randomUUID(), gpuId: "gpu-media:fast-1", type: TYPE, node: "n", jobs: 1, cost: 0.1 },
      ...{ paidFrom: stoppedAt, stoppedAt, ...seconds, ...(refundAmount !== undefined && { refundAmount }) },
    };
    const body = Readable.from([JSON.stringify(entry)]);
    await api.store.put(keys.ledger(stoppedAt, entry.workload), body, { contentType: "application/json" });
  }

  const get = async (path: string, status = 200) => {
    const response = await api.fetch(path);
    const body = (await response.clone().json()) as Body;
    assert.equal(response.status, status, JSON.stringify(body));
    const document = readDocument(await (await fetch(`${api.url}/openapi.json`)).json());
    const pattern = new RegExp(`^/${path.split(/[/?]/)[1]}(/{\\w+})?$`);
    const depth = path.split("?")[0]!.split("/").length;
    const route = routesOf(document).find(
      (one) => one.method === "GET" && pattern.test(one.path) && one.path.split("/").length === depth,
    );
    await createChecker(document).checkAnswer(route!, response);
    return body;
  };
  const firstPool = async () => ((await get("/pools")).pools as Body[])[0]!;

  /** What cannot be asked, and what the answer says then instead of a number, or of nothing. */
  const cases: [what: string, check: () => Promise<void>][] = [
    [
      "who waits in a pool that does not answer",
      async () => {
        await open(ids.pool(TYPE));
        const { known, queue, gpus, limits } = await firstPool();
        assert.deepEqual([known, queue, gpus, limits], [false, null, null, { min: 1, max: 4 }]);
        assert.deepEqual((await get(`/pools/${TYPE}`)).queue, null);
      },
    ],
    [
      "whether there is a pool that could be asked",
      async () => {
        lossy.lose("QueryWorkflow", ALL);
        lossy.lose("DescribeWorkflowExecution", ALL);
        assert.equal((await get("/pools", 503)).code, "temporal_unavailable");
      },
    ],
    [
      "what limits an operator has set for a pool",
      async () => {
        storeFails = true;
        assert.equal((await get("/pools", 503)).code, "storage_unavailable");
        const change = { method: "PATCH", headers: { "Content-Type": "application/json" }, body: `{"max":2}` };
        assert.equal((await api.fetch(`/pools/${TYPE}`, change)).status, 503);
      },
    ],
    [
      "what place a job has in the queue",
      async () => {
        await open(ids.pool(TYPE));
        const status = await get(`/status/${await waitingJob()}`);
        assert.deepEqual(Object.keys(status).sort(), ["id", "progress", "stage", "status"]);
      },
    ],
    [
      "what was stopped, and what it cost",
      async () => {
        storeFails = true;
        const { gpus, last_24_hours, stopped } = await get("/gpus");
        assert.deepEqual([gpus, last_24_hours, stopped], [[], null, null]);
      },
    ],
    [
      "what the provider gave back",
      async () => {
        await Promise.all([writeEntry(0.2), writeEntry()]);
        const day = (await get("/gpus")).last_24_hours as Body;
        assert.deepEqual([day.instances, day.refunded, day.refunds_unknown], [2, 0.2, 1]);
      },
    ],
    [
      "which instances there are",
      async () => {
        lossy.lose("ListWorkflowExecutions", ALL);
        assert.equal((await get("/gpus", 503)).code, "temporal_unavailable");
      },
    ],
    [
      "which jobs there are",
      async () => {
        lossy.lose("CountWorkflowExecutions", ALL);
        assert.equal((await get("/jobs", 503)).code, "temporal_unavailable");
      },
    ],
    [
      "whether Temporal would take a job",
      async () => {
        lossy.lose("DescribeNamespace", ALL);
        const response = await api.post("/csm", { text: "Hello." });
        assert.equal(response.status, 503);
        assert.equal(((await response.json()) as Body).code, "temporal_unavailable");
        assert.equal(lossy.calls("StartWorkflowExecution"), 0);
      },
    ],
    [
      "whether anybody polls",
      async () => {
        lossy.lose("DescribeTaskQueue", ALL, grpc.UNAVAILABLE);
        const missing = (await get("/readyz", 503)).missing as string[];
        assert.equal(missing.length, 3);
        for (const sentence of missing) assert.match(sentence, /^it is not known whether a worker polls/);
      },
    ],
    [
      "whether the provider gives GPUs",
      async () => {
        lossy.lose("QueryWorkflow", ALL);
        const { missing } = await get("/readyz?strict=1", 503);
        assert.match(String(missing), /it is not known whether the GPU provider gives instances/);
      },
    ],
    [
      "a record of a job that Temporal has forgotten",
      async () => {
        storeFails = true;
        assert.equal((await get(`/status/${randomUUID()}`, 503)).code, "storage_unavailable");
      },
    ],
    [
      "the text that came of a job",
      async () => {
        const files = [{ key: keys.result(randomUUID(), "txt"), mimeType: "text/plain", bytes: 1 }];
        const id = await waitingJob({ type: "whisper", state: "success", files });
        storeFails = true;
        for (const path of [`/result/${id}`, `/jobs/${id}`]) {
          assert.equal((await get(path, 503)).code, "storage_unavailable");
        }
      },
    ],
  ];

  for (const [what, check] of cases) it(`is not made up: ${what}`, check);

  it("is no failure of a job that was started, when its document cannot be made", async () => {
    lossy.lose("DescribeWorkflowExecution", ALL);
    const response = await api.post("/csm", { text: "Hello." }, { Prefer: "wait=1" });
    assert.equal(response.status, 200);
    const { id, status } = (await response.json()) as Body;
    assert.equal(status, "queued");
    opened.push(direct.workflow.getHandle(ids.job(String(id))));
  });
});
