import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { createReadPool, outlookOf } from "../../../src/api/gpus/poolStatus.ts";
import { createQueueReports } from "../../../src/api/gpus/queueReports.ts";
import { HttpError } from "../../../src/api/http/errors.ts";
import { createAdmission } from "../../../src/api/jobs/admission.ts";
import { loadConfig } from "../../../src/config/index.ts";
import { addRequest, createPool, type PoolState, withdrawRequest } from "../../../src/gpus/pool.ts";
import { reportOf } from "../../../src/gpus/queueForecast.ts";
import type { ElsewhereReport } from "../../../src/gpus/types.ts";
import { createLogger } from "../../../src/process/log.ts";
import { createObjectStore } from "../../../src/storage/index.ts";
import { writeJson } from "../../../src/storage/jsonDocuments.ts";
import { keys } from "../../../src/storage/keys.ts";
import type { ObjectStore } from "../../../src/storage/objectStore.ts";
import { createPoolReports } from "../../../src/workers/poolReports.ts";
import { eventually } from "../../support/eventually.ts";

const TYPE = "media:fast";
const PROCESSES = 3;
const MAX_QUEUED = 60;
const PER_TENANT = 20;
const settings = { preLaunchMs: { min: 0, max: 0 }, lifetimeMs: 7_200_000 };

describe("what is published of the queue", () => {
  let dir: string;
  let config: ReturnType<typeof loadConfig>;
  let store: ObjectStore;
  let reads: number;
  let pool: PoolState;
  let reports: ReturnType<typeof createPoolReports>;
  /** What Temporal was asked. */
  let asked: { counts: number; queries: number; looks: number };
  /** How many wait in truth. */
  let queued: Map<string, string>;
  let poolRuns: boolean | undefined;
  const log = createLogger("silent");

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "c3-render-reports-"));
    const limits = { MAX_QUEUED: `${MAX_QUEUED}`, MAX_QUEUED_PER_TENANT: `${PER_TENANT}` };
    config = loadConfig({ STORAGE_DIR: dir, ...limits });
    const files = createObjectStore(config.storage, "");
    reads = 0;
    store = {
      ...files,
      get: (key, options) => {
        reads += 1;
        return files.get(key, options);
      },
    };
    pool = createPool(TYPE, { min: 0, max: 4 }, Date.now());
    reports = createPoolReports(files);
    asked = { counts: 0, queries: 0, looks: 0 };
    queued = new Map();
    poolRuns = true;
  });
  afterEach(async () => {
    await reports.close();
    await rm(dir, { recursive: true, force: true });
  });

  /** A Temporal server that does what a default one may refuse as often as it is asked for it. */
  function standIn(): Client {
    const tenantOf = (query: string) => /Tenant = "([^"]*)"|Tenant = '([^']*)'/.exec(query)?.slice(1).find(Boolean);
    return {
      options: { namespace: "test" },
      withDeadline: (_deadline: number, call: () => Promise<unknown>) => call(),
      workflowService: { describeNamespace: async () => ({}) },
      workflow: {
        async count(query: string) {
          asked.counts += 1;
          const tenant = tenantOf(query);
          return { count: [...queued.values()].filter((of) => tenant === undefined || of === tenant).length };
        },
        getHandle: (workflowId: string) => ({
          async query() {
            asked.queries += 1;
          },
          async describe() {
            asked.looks += 1;
            if (poolRuns === undefined) throw new WorkflowNotFoundError("no such pool", workflowId, undefined);
            return { status: { name: poolRuns ? "RUNNING" : "COMPLETED" } };
          },
        }),
      },
    } as unknown as Client;
  }

  /** An API process, as far as it is about the queue. */
  function startProcess() {
    const deps = { client: standIn(), config, store, log };
    const read = createQueueReports(deps);
    const admit = createAdmission(deps, read);
    const readPool = createReadPool(deps, read);
    return {
      async submit(tenant: string): Promise<string | undefined> {
        const id = randomUUID();
        try {
          await admit({ tenant, admin: false }, id);
        } catch (error) {
          assert.ok(error instanceof HttpError);
          return undefined;
        }
        queued.set(id, tenant);
        return id;
      },
      outlook: (jobId: string) => outlookOf(readPool, TYPE, jobId),
      readPool,
    };
  }

  function want(jobId: string, tenant: string): void {
    const completeBy = Date.now() + 3_600_000;
    const about = { attempt: 1, priority: "normal", kind: "csm", expectedSeconds: 5 } as const;
    addRequest(pool, { jobId, tenant, completeBy, ...about }, Date.now());
  }

  function publish(at = Date.now()): Promise<void> {
    reports.sinks.poolReports.publish.fn({} as never, { ...reportOf(pool, Date.now(), settings), at });
    return reports.close();
  }

  it("keeps a flood of submissions within the limits, and Temporal unasked", async () => {
    const processes = Array.from({ length: PROCESSES }, startProcess);
    const tenants = ["anna", "bert", "o'brien", "dora", "emil"];
    // Each round is a submission of every tenant to every process; what is admitted comes to the pool, which says so.
    await eventually("everybody is refused by all", async () => {
      const round = processes.flatMap(({ submit }) => tenants.map(async (of) => [of, await submit(of)] as const));
      const admitted = (await Promise.all(round)).filter(([, id]) => id !== undefined);
      for (const [tenant, id] of admitted) want(id ?? "", tenant);
      await publish();
      return pool.queue.length >= MAX_QUEUED && admitted.length === 0;
    });
    const { waiting } = reportOf(pool, Date.now(), settings);
    // What the other processes admit before they have read of it.
    assert.ok(pool.queue.length <= PROCESSES * MAX_QUEUED, `${pool.queue.length} wait`);
    for (const [tenant, count] of waiting) assert.ok(count <= PROCESSES * PER_TENANT, `${count} of ${tenant} wait`);
    const before = { ...asked };
    const readBefore = reads;
    await eventually("all have read of it", async () => {
      const answers = await Promise.all(processes.flatMap(({ submit }) => tenants.map(submit)));
      assert.deepEqual(
        answers.filter((id) => id !== undefined),
        [],
      );
      return reads >= readBefore + 2 * PROCESSES;
    });
    assert.deepEqual(asked, before, "a full queue is known without a question");
    assert.ok(asked.counts <= PROCESSES * (1 + tenants.length), `${asked.counts} counts`);
    assert.equal(asked.queries, 0);
    for (const jobId of queued.keys()) withdrawRequest(pool, jobId);
    queued.clear();
    await publish();
    await eventually("there is room again", () => processes[0]?.submit("anna"));
  });

  it("counts what is on its way to a pool, and has Temporal asked before it refuses for the sake of it", async () => {
    const process = startProcess();
    const report: ElsewhereReport = { at: Date.now(), waiting: [["anna", PER_TENANT]] };
    await writeJson(store, keys.elsewhereReport, report);
    for (let job = 0; job < PER_TENANT; job += 1) queued.set(randomUUID(), "anna");
    assert.equal(await process.submit("anna"), undefined);
    assert.equal(asked.counts, 1);
    assert.ok(await process.submit("bert"));
    assert.equal(asked.counts, 1);
    // Another process looks later: by now they have ended.
    queued.clear();
    assert.ok(await startProcess().submit("anna"));
    assert.equal(asked.counts, 2);
  });

  it("tells every job that waits what to expect, and no pool is asked", async () => {
    const processes = Array.from({ length: PROCESSES }, startProcess);
    const jobIds = Array.from({ length: 100 }, () => randomUUID());
    for (const jobId of jobIds) want(jobId, "anna");
    await publish();
    const since = performance.now();
    for (let round = 0; round < 20; round += 1) {
      const outlooks = await Promise.all(processes.flatMap(({ outlook }) => jobIds.map(outlook)));
      for (const outlook of outlooks) assert.equal(outlook?.waitingFor, "gpu_starting");
      assert.deepEqual(new Set(outlooks.map((one) => one?.position)).size, jobIds.length);
    }
    const seconds = Math.ceil((performance.now() - since) / 1000);
    assert.deepEqual(asked, { counts: 0, queries: 0, looks: 0 });
    assert.ok(reads <= PROCESSES * (seconds + 1), `${reads} reads in ${seconds} s`);
  });

  describe("is taken for no longer than it may be true:", () => {
    const hourAgo = () => Date.now() - 3_600_000;
    const cases: { name: string; at?: () => number; runs: boolean | undefined; is: string }[] = [
      { name: "a pool that has just spoken", at: Date.now, runs: true, is: "known" },
      { name: "one that has been silent for long, and runs", at: hourAgo, runs: true, is: "unknown" },
      { name: "one that has ended since", at: hourAgo, runs: false, is: "absent" },
      { name: "one that has not spoken yet", runs: true, is: "unknown" },
      { name: "one that has never been there", runs: undefined, is: "absent" },
    ];
    for (const { name, at, runs, is } of cases)
      it(name, async () => {
        if (at !== undefined) await publish(at());
        poolRuns = runs;
        assert.equal((await startProcess().readPool(TYPE)).is, is);
      });

    it("a pool that is gone holds up no submission", async () => {
      for (let job = 0; job < MAX_QUEUED; job += 1) want(randomUUID(), `tenant ${job % 5}`);
      await publish(hourAgo());
      assert.ok(await startProcess().submit("anna"));
      assert.equal(asked.counts, 1);
    });

    it("a store that does not answer holds up no submission, and the limits hold all the same", async () => {
      const process = startProcess();
      store.get = () => Promise.reject(new Error("the store is away"));
      const admitted = [];
      for (let job = 0; job < 2 * PER_TENANT; job += 1) admitted.push(await process.submit("anna"));
      assert.equal(admitted.filter((id) => id !== undefined).length, PER_TENANT);
    });
  });
});
