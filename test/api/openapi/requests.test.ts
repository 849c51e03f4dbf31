import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Context } from "@temporalio/activity";
import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import fc from "fast-check";
import { entryOf } from "../../../src/activities/gpus/usageLedger.ts";
import { readVersions } from "../../../src/api/service/versions.ts";
import { ids } from "../../../src/contracts/names.ts";
import type { GpuView } from "../../../src/gpus/types.ts";
import { initialView, type JobSpec, type JobView, jobTypes } from "../../../src/jobs/job.ts";
import { finalStates, jobStates } from "../../../src/jobs/states.ts";
import type { WebhookLedger } from "../../../src/jobs/webhook.ts";
import { keys } from "../../../src/storage/keys.ts";
import type { ObjectStore } from "../../../src/storage/objectStore.ts";
import { DEPLOYMENT } from "../../../src/temporal/connection.ts";
import { writeLedger } from "../../../src/webhooks/deliveryLog.ts";
import { eventually } from "../../support/eventually.ts";
import { testLog } from "../../support/runtime.ts";
import { connectTestClient, KEY, startTestApi, type TestApi } from "../support.ts";
import { type GeneratedRequest, requestsOf } from "./arbitraries.ts";
import { createChecker, type Described, type Route, readDocument, routesOf } from "./support.ts";

const SEED = 20_261_123;
const BATCHES = 50;
const REQUESTS_PER_BATCH = 100;
/** The slowest answers take two seconds; one that does not come is named. */
const ANSWER_TIMEOUT_MS = 60_000;
const USER_KEY = "the-api-key-of-anna";
const OTHER_KEY = "the-api-key-of-ben";
const TASK_QUEUE = "stand-ins";
/** Of the document's examples. */
const EXAMPLE_JOB = "3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11";
const EXAMPLE_GPU = "gpu-media:fast-1795254481";
const EXAMPLE_VERSION = "0.2.0-b81d04e6";

const storeTroubles: Record<string, () => Promise<never>> = {
  throws() {
    throw new Error("no such bucket");
  },
  "refuses connections": () => Promise.reject(new Error("connect ECONNREFUSED")),
  hangs: () => new Promise(() => {}),
};

describe("the API, as its document describes it", () => {
  let client: Client;
  let api: TestApi;
  let worker: Worker;
  let versioned: Worker;
  let working: Promise<unknown>;
  let connection: NativeConnection;
  let document: Described;
  let routes: Route[];
  let checkAnswer: ReturnType<typeof createChecker>["checkAnswer"];
  /** Operation and status of the answers so far. */
  const seen = new Set<string>();

  let storeTrouble: (() => Promise<never>) | undefined;
  afterEach(() => {
    storeTrouble = undefined;
  });

  /** The store, with what is the matter with it just then. */
  function troubled(store: ObjectStore): ObjectStore {
    return {
      ...store,
      ensureReady: () => (storeTrouble ?? store.ensureReady)(),
      put: (...args) => storeTrouble?.() ?? store.put(...args),
      get: (...args) => storeTrouble?.() ?? store.get(...args),
      head: (...args) => storeTrouble?.() ?? store.head(...args),
      remove: (...args) => storeTrouble?.() ?? store.remove(...args),
      link: (...args) => storeTrouble?.() ?? store.link(...args),
      async *list(prefix) {
        await storeTrouble?.();
        yield* store.list(prefix);
      },
    };
  }

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    api = await startTestApi({
      client,
      storeThrough: troubled,
      env: {
        MAX_BODY_BYTES: "20000",
        MODAL_TOKEN_ID: "id",
        MODAL_TOKEN_SECRET: "secret",
        TEMPORAL_PAYLOAD_KEYS: `k1:${Buffer.alloc(32).toString("base64")}`,
        C3_RENDER_KEYS: JSON.stringify([
          { name: "anna", key: USER_KEY },
          { name: "ben", key: OTHER_KEY, weight: 2, rate: 100_000 },
        ]),
      },
    });
    connection = await NativeConnection.connect({ address: temporal.address });
    worker = await Worker.create({
      connection,
      namespace: client.options.namespace,
      taskQueue: TASK_QUEUE,
      workflowsPath: fileURLToPath(new URL("../standIns.ts", import.meta.url)),
      activities: { runModel: async () => await Context.current().cancelled },
    });
    const options = {
      namespace: client.options.namespace,
      taskQueue: "versioned",
      activities: { runModel: async () => {} },
    };
    versioned = await Worker.create({
      ...{ ...options, connection },
      workerDeploymentOptions: {
        version: { deploymentName: DEPLOYMENT, buildId: EXAMPLE_VERSION },
        useWorkerVersioning: true,
        defaultVersioningBehavior: "PINNED",
      },
    });
    working = Promise.all([worker.run(), versioned.run()]);
    await eventually("its version is announced", async () =>
      (await readVersions(client))?.versions.some(({ id }) => id === EXAMPLE_VERSION),
    );
    document = readDocument(await (await fetch(`${api.url}/openapi.json`)).json());
    routes = routesOf(document);
    ({ checkAnswer } = createChecker(document));
  });
  after(async () => {
    worker.shutdown();
    versioned.shutdown();
    await working;
    await connection.close();
    await api.close();
    await client.connection.close();
  });

  /** A job that shows itself like that, and ends when it is asked to, if somebody polls the task queue. */
  async function standIn(id: string, patch: Partial<JobView>, taskQueue = TASK_QUEUE): Promise<string> {
    const now = Date.now();
    const times = { createdAt: now, completeBy: now + 60_000, maxTimeSeconds: 60 };
    const job = { id, type: "csm", tenant: "default", priority: "normal", ...times } as JobSpec;
    const view = { ...initialView(job), ...patch };
    const waiting = view.stage === "waiting" ? { gpuType: "media:fast" } : null;
    const memo = { view, waiting, metadata: { order: 7 } };
    await client.workflow.start("rendering", { workflowId: ids.job(id), taskQueue, args: [view], memo });
    return id;
  }

  /** An instance that is leased, and one that was stopped. */
  async function standInGpus(): Promise<void> {
    const now = Date.now();
    const times = { since: now, startedAt: now - 60_000, expiresAt: now + 60_000 };
    const usage = { paidFrom: now - 60_000, until: now, bootMs: 20_000, busyMs: 30_000, idleMs: 10_000, jobs: 1 };
    const gpu: GpuView = {
      ...{ gpuId: EXAMPLE_GPU, type: "media:fast", state: "leased", node: "node", workload: "w-1", kept: true },
      ...times,
      lease: { leaseId: "lease", jobId: EXAMPLE_JOB },
      usage: { ...usage, ratePerHour: 0.5 },
    };
    await client.workflow.start("gpuManager", { workflowId: EXAMPLE_GPU, taskQueue: "nobody", memo: { gpu } });
    const stoppedAt = new Date(now).toISOString();
    const instance = { workload: "w-0", node: "node", created: now / 1000 - 60, stoppedAt: now, refundAmount: 0.01 };
    const entry = entryOf({ gpuId: "gpu-media:fast-0", type: "media:fast", instance, usage, ratePerHour: 0.5 });
    await api.store.put(keys.ledger(stoppedAt, "w-0"), Readable.from([JSON.stringify(entry)]), {
      contentType: "application/json",
    });
  }

  async function storeResult(type: string) {
    const isText = type === "whisper" || type === "analyze";
    const key = keys.result(randomUUID(), isText ? "txt" : "mp4");
    await api.store.put(key, Readable.from(["result"]), { contentType: isText ? "text/plain" : "video/mp4" });
    return [{ key, mimeType: isText ? "text/plain" : "video/mp4", bytes: 6 }];
  }

  /** Jobs of every type in every state. */
  async function standIns(): Promise<{ live: string[]; ended: string[] }> {
    const live: string[] = [];
    const ended: string[] = [];
    for (const type of jobTypes) {
      for (const state of jobStates) {
        const isFinal = finalStates.some((final) => final === state);
        const at = new Date().toISOString();
        const usage = { bootMs: 1000, idleMs: 10, busyMs: 2000, cost: 0.01 };
        const shown: Partial<JobView> = { type, state };
        if (state === "queued") Object.assign(shown, { stage: "waiting" });
        if (state === "running") Object.assign(shown, { stage: "rendering", startedAt: at, attempts: 1 });
        if (isFinal) Object.assign(shown, { startedAt: at, finishedAt: at, attempts: 1, usage });
        if (isFinal) Object.assign(shown, { gpu: { id: EXAMPLE_GPU, node: "node", type: "media:fast" } });
        if (state === "success")
          Object.assign(shown, { files: await storeResult(type), outputPath: outputPathOf(type) });
        else if (isFinal) Object.assign(shown, { error: `it is ${state}` });
        (isFinal ? ended : live).push(await standIn(randomUUID(), shown));
      }
    }
    return { live, ended };
  }

  const ledgerOf = (jobId: string): WebhookLedger => ({
    request: {
      jobId,
      tenant: "default",
      url: "https://example.com/hook?token=t",
      ending: { state: "success" },
    },
    attempts: [
      { at: new Date().toISOString(), delivered: false, ms: 10_000, error: "no answer within 10 s" },
      { at: new Date().toISOString(), delivered: true, statusCode: 204, ms: 12 },
    ],
  });

  const outputPathOf = (type: string) => (type === "lipsync" ? "/outputs/clip.mp4" : undefined);

  async function check(route: Route, response: Response): Promise<void> {
    seen.add(`${route.operationId} ${response.status}`);
    await checkAnswer(route, response);
  }

  async function send({ method, path, headers, body }: Omit<GeneratedRequest, "operationId">): Promise<Response> {
    const init = { method, headers, redirect: "manual" as const, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) };
    return await fetch(`${api.url}${path}`, body === undefined ? init : { ...init, body });
  }

  /** The job that the document's examples speak of. @returns the key of its result */
  async function exampleJob(): Promise<string> {
    const files = await storeResult("csm");
    await standIn(EXAMPLE_JOB, { state: "success", files });
    await writeLedger(api.store, ledgerOf(EXAMPLE_JOB));
    return files[0]?.key ?? "";
  }

  /** The document's examples. That of removing the job comes last. */
  function* examples(): Generator<[Route, Omit<GeneratedRequest, "operationId">]> {
    for (const route of [...routes].sort((a, b) => Number(a.method === "DELETE") - Number(b.method === "DELETE"))) {
      const bodies = Object.values(route.requestBody?.content["application/json"]?.examples ?? {});
      const parameters = (route.parameters ?? []).filter((parameter) => parameter.in === "path");
      if (parameters.some(({ example }) => example === undefined)) continue;
      const path = parameters.reduce((path, { name, example }) => path.replace(`{${name}}`, `${example}`), route.path);
      for (const body of bodies.length === 0 ? [undefined] : bodies.map(({ value }) => JSON.stringify(value))) {
        const headers = { "X-C3-RENDER-KEY": KEY, ...(body !== undefined && { "Content-Type": "application/json" }) };
        yield [route, { ...route, path, headers, body }];
      }
    }
  }

  it("answers its examples with success", async () => {
    await exampleJob();
    await standInGpus();
    let answered = 0;
    for (const [route, request] of examples()) {
      const response = await send(request);
      // No worker does jobs here, and readiness says so.
      const expected = route.operationId === "readReadiness" ? 503 : Number(Object.keys(route.responses)[0]);
      assert.equal(response.status, expected, `${route.operationId} ${request.body} ${await response.clone().text()}`);
      await check(route, response);
      answered += 1;
    }
    assert.ok(answered > 25, `${answered}`);
  });

  for (const [how, trouble] of Object.entries(storeTroubles)) {
    it(`answers its examples as documented while the object store ${how}`, async () => {
      const path = await api.store.link(await exampleJob(), { expiresInSeconds: 3600 });
      const file = { method: "GET", path, headers: {}, body: undefined };
      const readFile = routes.find(({ operationId }) => operationId === "readFile");
      assert.ok(readFile);
      storeTrouble = trouble;
      const told = new Set<string>();
      await Promise.all(
        [...examples(), [readFile, file] as const].map(async ([route, request]) => {
          const response = await send(request);
          const text = await response.clone().text();
          assert.ok(
            response.status < 500 || response.status === 503,
            `${route.operationId} ${response.status} ${text}`,
          );
          if (response.status === 503 && text.includes("storage_unavailable")) {
            told.add(route.operationId);
            assert.ok(response.headers.has("Retry-After"), route.operationId);
          }
          await check(route, response);
        }),
      );
      for (const needed of ["readFile", "readResult", "listDeliveries", "listPools", "resizePool"]) {
        assert.ok(told.has(needed), `${needed} needs the store, as ${[...told]} do`);
      }
    });
  }

  it(`answers ${BATCHES * REQUESTS_PER_BATCH} requests, valid and not, as documented (seed ${SEED})`, async function () {
    this.timeout(600_000);
    const { live, ended } = await standIns();
    // Those that are marked and removed are others than those that are read.
    const mortals = await standIns();
    const [told = ""] = ended;
    await writeLedger(api.store, ledgerOf(told));
    const pool = { workflowId: ids.pool("media:fast"), taskQueue: TASK_QUEUE, args: [live] };
    await client.workflow.start("queueing", pool);
    const unattended = await standIn(randomUUID(), { state: "queued" }, "nobody");
    const mortal = fc.constantFrom(...mortals.live, ...mortals.ended);
    const [present = ""] = (await storeResult("portrait")).map((file) => file.key);
    const absent = keys.result(randomUUID(), "mp4");
    const links = [present, absent].map((key) =>
      api.store.link(key, { expiresInSeconds: 3600, downloadName: "clip.mp4" }),
    );
    const [linked = ""] = await Promise.all(links);
    const etag = (await fetch(`${api.url}${linked}`, { method: "HEAD" })).headers.get("ETag") ?? "";
    const epoch = new Date(0).toUTCString();
    const queries = (await Promise.all(links)).map((link) => new URL(link, api.url).searchParams);
    const values = {
      id: fc.oneof(
        { weight: 6, arbitrary: fc.constantFrom(...live, ...ended, told.toUpperCase()) },
        { weight: 1, arbitrary: fc.uuid() },
      ),
      // The answer takes two seconds where no worker acts.
      "markJob id": fc.oneof(
        { weight: 40, arbitrary: mortal },
        { weight: 10, arbitrary: fc.uuid() },
        { weight: 3, arbitrary: fc.constant(unattended) },
      ),
      "removeJob id": fc.oneof(
        { weight: 20, arbitrary: mortal },
        { weight: 10, arbitrary: fc.uuid() },
        { weight: 1, arbitrary: fc.constant(unattended) },
      ),
      "redeliver id": fc.constantFrom(...live, ...ended, told, told, told),
      "Last-Event-ID": fc.constantFrom("1", "end"),
      "Idempotency-Key": fc.constantFrom("one", "two"),
      Prefer: fc.oneof(
        { weight: 30, arbitrary: fc.constantFrom("respond-async", "wait=0") },
        { weight: 1, arbitrary: fc.constant("wait=1") },
      ),
      "listJobs status": fc.constantFrom(...jobStates),
      "listJobs type": fc.constantFrom(...jobTypes),
      tenant: fc.constantFrom("default", "anna"),
      limit: fc.constantFrom("1", "20"),
      cursor: fc.constant(Buffer.from(JSON.stringify([Date.now(), told])).toString("base64url")),
      "drainGpu id": fc.constantFrom(EXAMPLE_GPU, "gpu-media:fast-1"),
      version: fc.constant(EXAMPLE_VERSION),
      type: fc.constantFrom("media:fast", "ollama_webui:fast"),
      "readDocsFile file": fc.constantFrom("start.js", "swagger-ui.css"),
      "readDashboardFile file": fc.constantFrom("main.js", "dashboard.css"),
      key: fc.constantFrom(present, absent),
      expires: fc.constantFrom(...queries.map((query) => query.get("expires") ?? "")),
      signature: fc.constantFrom(...queries.map((query) => query.get("signature") ?? "")),
      download: fc.constant("clip.mp4"),
      Range: fc.constantFrom("bytes=0-1", "bytes=99-", "bytes=100-"),
      redirect: fc.constantFrom("1", "true", "True", "0"),
      inline: fc.constantFrom("1", "false"),
      strict: fc.constantFrom("0", "1", "True"),
      // With these a file is not sent at all, or not in part.
      "If-None-Match": fc.oneof({ weight: 5, arbitrary: fc.constant('"other"') }, fc.constantFrom("*", etag)),
      "If-Range": fc.oneof({ weight: 5, arbitrary: fc.constant(etag) }, fc.constantFrom('"other"', epoch)),
    };
    const batch = fc.array(requestsOf(document, routes, { keys: [KEY, USER_KEY, OTHER_KEY], values }), {
      minLength: REQUESTS_PER_BATCH,
      maxLength: REQUESTS_PER_BATCH,
    });
    const sendAll = async (seed: number, numRuns: number) => {
      for (const requests of fc.sample(batch, { seed, numRuns })) {
        await Promise.all(
          requests.map(async (request) => {
            const route = routes.find(({ operationId }) => operationId === request.operationId);
            await send(request)
              .then((response) => {
                assert.ok(response.status < 500 || response.status === 503, `${response.status}`);
                return check(route!, response);
              })
              .catch((cause) => {
                throw new Error(JSON.stringify(request), { cause });
              });
          }),
        );
      }
    };
    const answers = routes.flatMap(({ operationId, responses }) =>
      Object.keys(responses).map((status) => `${operationId} ${status}`),
    );
    // Temporal can be reached here, and no worker does jobs; the codec takes larger bodies than these, none comes slowly,
    // jobs with an idempotency key are not removed, and the only version is always ready.
    const impossible =
      / 503$| 408$|^makeVersionCurrent 409$|^readReadiness 200$|^(en|de)codePayloads 413$|^submit\w+ 409$/;
    const unseen = () => answers.filter((answer) => !seen.has(answer) && !impossible.test(answer));
    await sendAll(SEED, BATCHES);
    // Some answers are rare: which of them chance has left out changes with every schema.
    for (let more = 1; more <= 4 && unseen().length > 0; more += 1) await sendAll(SEED + more, BATCHES);
    assert.deepEqual(unseen(), []);
  });
});
