import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import type { Client } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { initialView, type JobSpec, type JobView } from "../../src/jobs/job.ts";
import { keys } from "../../src/storage/keys.ts";
import { searchAttributes } from "../../src/temporal/connection.ts";
import { eventually } from "../support/eventually.ts";
import { connectTestClient, KEY, startTestApi, type TestApi } from "./support.ts";

const tenantKeys = [
  { name: "anna", key: "the-api-key-of-anna", weight: 3 },
  { name: "bert", key: "the-api-key-of-bert" },
  { name: "ops", key: "the-api-key-of-ops", role: "admin" },
];

describe("two tenants", () => {
  let client: Client;
  let api: TestApi;
  before(async () => {
    ({ client } = await connectTestClient());
    api = await startTestApi({ client, env: { C3_RENDER_KEYS: JSON.stringify(tenantKeys) } });
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  const as = (key: string, path: string, method = "GET", body?: object) =>
    fetch(`${api.url}${path}`, {
      method,
      redirect: "manual",
      headers: { Authorization: `Bearer ${key}`, ...(body && { "Content-Type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
    });
  const submitAs = async (key: string) => {
    const response = await as(key, "/csm", "POST", { text: "Hello." });
    assert.equal(response.status, 200);
    return ((await response.json()) as { id: string }).id;
  };

  /** A finished job of a tenant, with its file. */
  const finishedJobOf = async (tenant: string) => {
    const id = randomUUID();
    const key = keys.result(id, "mp3");
    await api.store.put(key, Readable.from([Buffer.from(`the file of ${tenant}`)]), { contentType: "audio/mpeg" });
    const spec = { id, type: "csm", tenant, createdAt: Date.now(), completeBy: Date.now() } as JobSpec;
    const view: JobView = {
      ...initialView(spec),
      state: "success",
      files: [{ key, mimeType: "audio/mpeg", bytes: 1 }],
    };
    await client.workflow.start("stand-in", { workflowId: ids.job(id), taskQueue: `nobody-${id}`, memo: { view } });
    return id;
  };

  /** Every request about one job. */
  const requests = (id: string) =>
    [
      ["GET", `/status/${id}`],
      ["GET", `/result/${id}`],
      ["GET", `/result/${id}?redirect=1`],
      ["GET", `/jobs/${id}`],
      ["GET", `/jobs/${id}/result`],
      ["GET", `/jobs/${id}/deliveries`],
      ["POST", `/jobs/${id}/deliveries`, {}],
      ["GET", `/jobs/${id}/events`],
      ["POST", `/job/${id}`, { status: "cancelled" }],
      ["POST", `/job/${id}`, { status: "cancelled", remove_data: true }],
      ["DELETE", `/jobs/${id}`],
    ] as const;

  it("submit jobs of their own, with their share of the GPUs", async () => {
    const handle = client.workflow.getHandle(ids.job(await submitAs("the-api-key-of-anna")));
    const { typedSearchAttributes } = await handle.describe();
    assert.equal(typedSearchAttributes.get(searchAttributes.tenant), "anna");
    const { events } = await handle.fetchHistory();
    const payload = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    const { job } = JSON.parse(Buffer.from(payload!).toString()) as { job: JobSpec };
    assert.equal(job.tenant, "anna");
    assert.equal(job.weight, 3);
    await handle.terminate();
  });

  it("can neither see nor cancel each other's jobs, nor learn that there are any", async () => {
    for (const id of [await submitAs("the-api-key-of-anna"), await finishedJobOf("anna")]) {
      for (const [method, path, body] of requests(id)) {
        const foreign = await as("the-api-key-of-bert", path, method, body);
        const absent = await as("the-api-key-of-bert", path.replace(id, randomUUID()), method, body);
        assert.equal(foreign.status, 404, path);
        const withoutRequestId = async (response: Response) => ({
          ...((await response.json()) as object),
          request_id: "",
        });
        assert.deepEqual(await withoutRequestId(foreign), await withoutRequestId(absent));
      }
      const { status } = await client.workflow.getHandle(ids.job(id)).describe();
      assert.equal(status.name, "RUNNING", "nothing was asked of it");
    }
  });

  it("see their own, and whoever administers sees all", async () => {
    const id = await finishedJobOf("anna");
    for (const key of ["the-api-key-of-anna", "the-api-key-of-ops", KEY]) {
      assert.equal((await as(key, `/status/${id}`)).status, 200);
      assert.equal((await as(key, `/jobs/${id}`)).status, 200);
      const redirect = await as(key, `/result/${id}?redirect=1`);
      assert.equal(redirect.status, 302);
      assert.equal(await (await fetch(redirect.headers.get("Location")!)).text(), "the file of anna");
    }
  });

  it("list their own, and only whoever administers lists those of others", async () => {
    const id = await submitAs("the-api-key-of-anna");
    const listed = async (key: string, query = "") => {
      const response = await as(key, `/jobs?limit=100${query}`);
      assert.equal(response.status, 200);
      return ((await response.json()) as { jobs: { id: string; tenant: string }[] }).jobs;
    };
    for (const [key, query] of [
      ["the-api-key-of-anna", ""],
      ["the-api-key-of-anna", "&tenant=anna"],
      ["the-api-key-of-ops", ""],
      ["the-api-key-of-ops", "&tenant=anna"],
    ] as const) {
      await eventually(`the job in the list of ${key}`, async () =>
        (await listed(key, query)).some((job) => job.id === id),
      );
    }
    assert.deepEqual(await listed("the-api-key-of-bert"), []);
    assert.deepEqual(await listed("the-api-key-of-ops", "&tenant=bert"), []);
    const response = await as("the-api-key-of-bert", "/jobs?tenant=anna");
    assert.equal(response.status, 403);
    await client.workflow.getHandle(ids.job(id)).terminate();
  });

  it("may use the same idempotency key, each for a job of their own", async () => {
    const submit = async (key: string) => {
      const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json", "Idempotency-Key": "1" };
      const response = await fetch(`${api.url}/csm`, { method: "POST", headers, body: '{"text": "Hello."}' });
      assert.equal(response.headers.get("Idempotent-Replayed"), null);
      return ((await response.json()) as { id: string }).id;
    };
    const jobs = [await submit("the-api-key-of-anna"), await submit("the-api-key-of-bert")];
    assert.notEqual(jobs[0], jobs[1]);
    for (const id of jobs) await client.workflow.getHandle(ids.job(id)).terminate();
  });

  it("cannot open a file of the other with a link to their own", async () => {
    const [own, foreign] = [await finishedJobOf("bert"), await finishedJobOf("anna")];
    const link = (await as("the-api-key-of-bert", `/result/${own}?redirect=1`)).headers.get("Location")!;
    assert.equal((await fetch(link)).status, 200);
    assert.equal((await fetch(link.replace(own, foreign))).status, 403);
    const unsigned = `/files/${keys.result(foreign, "mp3")}`;
    assert.equal((await as("the-api-key-of-bert", unsigned)).status, 403);
  });

  it("do not operate the service", async () => {
    for (const [method, path, body] of [
      ["GET", "/gpus"],
      ["GET", "/api/v0/gpus"],
      ["POST", "/gpus/gpu-media:fast-1795254481/drain", { now: true }],
      ["GET", "/pools"],
      ["GET", "/pools/media:fast"],
      ["PATCH", "/pools/media:fast", { max: 0 }],
      ["POST", "/deliveries", { since: "2026-01-01T00:00:00Z" }],
    ] as const) {
      const response = await as("the-api-key-of-anna", path, method, body);
      assert.equal(response.status, 403, path);
      assert.equal(((await response.json()) as { code: string }).code, "admin_required");
    }
    for (const key of ["the-api-key-of-ops", KEY]) assert.equal((await as(key, "/pools")).status, 200);
  });
});
