import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Client, WorkflowHandle } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { initialView, type JobSpec, type JobView } from "../../src/jobs/job.ts";
import { connectLossyClient, type LossyClient } from "../support/lossyTemporal.ts";
import { connectTestClient, KEY, startTestApi, type TestApi } from "./support.ts";

const LIVE_KEPT_FOR_MS = 250;
const READS_PER_MINUTE = 30;

describe("a job that somebody polls in a closed loop", () => {
  let direct: Client;
  let lossy: LossyClient;
  let api: TestApi;
  const opened: WorkflowHandle[] = [];
  beforeEach(async () => {
    const temporal = await connectTestClient();
    direct = temporal.client;
    lossy = await connectLossyClient(temporal.address, direct.options.namespace);
    const keys = ["anna", "bert"].map((name) => ({ name, key: `the-api-key-of-${name}` }));
    api = await startTestApi({
      client: lossy.client,
      env: { RATE_LIMIT: String(READS_PER_MINUTE / 10), C3_RENDER_KEYS: JSON.stringify(keys) },
    });
  });
  afterEach(async () => {
    for (const handle of opened.splice(0)) await handle.terminate().catch(() => {});
    await api.close();
    await lossy.client.connection.close();
    await direct.connection.close();
  });

  /** A job of which nothing comes. */
  async function job(patch: Partial<JobView> = {}): Promise<{ id: string; handle: WorkflowHandle }> {
    const id = randomUUID();
    const times = { createdAt: Date.now(), completeBy: Date.now() + 60_000, maxTimeSeconds: 60 };
    const spec = { id, type: "csm", tenant: "anna", priority: "normal", ...times } as JobSpec;
    const handle = await direct.workflow.start("stand-in", {
      workflowId: ids.job(id),
      taskQueue: `nobody-${id}`,
      memo: { view: { ...initialView(spec), ...patch } },
    });
    opened.push(handle);
    return { id, handle };
  }

  const ask = async (path: string, key = "the-api-key-of-anna", init: RequestInit = {}) => {
    const response = await api.fetch(path, { ...init, headers: { Authorization: `Bearer ${key}`, ...init.headers } });
    const body = (await response.json()) as Record<string, unknown>;
    return { status: response.status, body, left: Number(response.headers.get("RateLimit-Remaining")) };
  };
  const looks = () => lossy.calls("DescribeWorkflowExecution");

  for (const route of ["/status", "/jobs"]) {
    it(`is looked at four times a second at most: GET ${route}/{id}`, async () => {
      const { id } = await job();
      const startedAt = performance.now();
      for (let poll = 0; poll < 200; poll += 1) assert.equal((await ask(`${route}/${id}`)).status, 200);
      const most = Math.ceil((performance.now() - startedAt) / LIVE_KEPT_FOR_MS) + 1;
      assert.ok(looks() <= most, `${looks()} looks, ${most} at most`);
    });
  }

  it("is looked at once for all who ask at the same time", async () => {
    const { id } = await job();
    await ask(`/status/${id}`);
    const before = looks();
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(`/api/v0/status/${id.toUpperCase()}`)));
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
    assert.ok(looks() - before <= 1, `${looks() - before}`);
  });

  it("uses up next to nothing of the caller's limit, while unknown jobs are counted each time", async () => {
    const { id } = await job();
    const { left } = await ask(`/status/${id}`);
    assert.equal(left, READS_PER_MINUTE - 1);
    const startedAt = performance.now();
    let last = left;
    for (let poll = 0; poll < READS_PER_MINUTE * 10; poll += 1) {
      const answer = await ask(`/status/${id}`);
      assert.equal(answer.status, 200);
      last = answer.left;
    }
    const seconds = Math.ceil((performance.now() - startedAt) / 1000);
    assert.ok(last >= left - seconds, `${last} are left`);
    const guesses = [];
    for (let guess = 0; guess <= READS_PER_MINUTE; guess += 1)
      guesses.push((await ask(`/status/${randomUUID()}`)).status);
    assert.equal(guesses[0], 404);
    assert.equal(guesses.at(-1), 429);
  });

  it("is as it is after a change through this process", async () => {
    const { id, handle } = await job();
    assert.equal((await ask(`/status/${id}`)).body.status, "queued");
    await handle.terminate();
    const marked = await api.post(`/job/${id}`, { status: "cancelled" });
    assert.deepEqual(await marked.json(), { message: `Job ${id} already failed` });
    assert.equal((await ask(`/status/${id}`)).body.status, "failed");
  });

  it("is gone from the answer on that says so", async () => {
    const { id, handle } = await job();
    await handle.terminate();
    opened.push(direct.workflow.getHandle(ids.removal(id)));
    assert.equal((await ask(`/status/${id}`)).body.status, "failed");
    assert.equal((await ask(`/jobs/${id}`, KEY, { method: "DELETE" })).status, 200);
    for (const path of [`/status/${id}`, `/jobs/${id}`, `/result/${id}`]) assert.equal((await ask(path)).status, 404);
  });

  it("has its result as soon as it has one, for somebody else may have been told", async () => {
    const { id, handle } = await job();
    assert.equal((await ask(`/result/${id}`)).body.code, "job_not_completed");
    await handle.terminate();
    assert.deepEqual((await ask(`/result/${id}`)).body.status, "failed");
    const before = looks();
    for (let poll = 0; poll < 20; poll += 1) await ask(`/result/${id}`);
    assert.equal(looks(), before, "an ended one is kept");
  });

  it("is nobody else's", async () => {
    const { id } = await job();
    assert.equal((await ask(`/status/${id}`)).status, 200);
    assert.equal((await ask(`/status/${id}`, "the-api-key-of-bert")).status, 404);
    assert.equal((await ask(`/status/${id}`, KEY)).status, 200);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        ask(`/jobs/${id}`, index % 2 === 0 ? "the-api-key-of-anna" : "the-api-key-of-bert"),
      ),
    );
    for (const [index, { status }] of answers.entries()) assert.equal(status, index % 2 === 0 ? 200 : 404);
  });

  it("is looked at again after a look that failed", async () => {
    const { id } = await job();
    lossy.lose("DescribeWorkflowExecution");
    assert.equal((await ask(`/status/${id}`)).status, 503);
    assert.equal((await ask(`/status/${id}`)).status, 200);
  });
});
