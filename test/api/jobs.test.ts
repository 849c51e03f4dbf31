import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import type { Client } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { initialView, type JobSpec, type JobView } from "../../src/jobs/job.ts";
import { keys } from "../../src/storage/keys.ts";
import { searchAttributes } from "../../src/temporal/connection.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

describe("a job, with no worker running", () => {
  let client: Client;
  let api: TestApi;
  before(async () => {
    ({ client } = await connectTestClient());
    api = await startTestApi({ client, env: { MAX_RENDER_TIME: "1800" } });
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  const handleOf = (id: string) => client.workflow.getHandle(ids.job(id));
  const submit = async (body: object) => {
    const response = await api.post("/csm", body);
    assert.equal(response.status, 200, await response.clone().text());
    const { id, status } = (await response.json()) as { id: string; status: string };
    assert.equal(status, "queued");
    assert.equal(response.headers.get("Location"), `/jobs/${id}`);
    return id;
  };
  const answer = async (response: Response | Promise<Response>) => {
    const { request_id, ...body } = (await (await response).json()) as Record<string, unknown>;
    return { status: (await response).status, body };
  };

  /** A job whose workflow shows `view`, whatever it does. */
  const show = async (patch: Partial<JobView>) => {
    const id = randomUUID();
    const now = Date.now();
    const spec = {
      id,
      type: "csm",
      tenant: "default",
      priority: "normal",
      createdAt: now,
      completeBy: now + 1000,
      maxTimeSeconds: 60,
    };
    const input = {
      monologue: ["a"],
      voice: "random",
      temperature: 1,
      topk: 1,
      maxAudioLengthMs: 1,
      pauseDurationMs: 1,
    };
    const view = { ...initialView({ ...spec, input } as JobSpec), ...patch };
    await client.workflow.start("stand-in", { workflowId: ids.job(id), taskQueue: `nobody-${id}`, memo: { view } });
    return id;
  };

  it("is accepted as a workflow that says what is asked and by when", async () => {
    const before = Date.now();
    const id = await submit({
      text: "The spoken words.",
      topk: "20",
      max_time: 7200,
      complete_in: 600,
      priority: "high",
      notify_url: "https://user:password@example.com/hook?token=t",
      metadata: { order: 7 },
    });
    const description = await handleOf(id).describe();
    assert.equal(description.type, "renderJob");
    assert.equal(description.taskQueue, "c3-render");
    const { typedSearchAttributes: attributes } = description;
    assert.equal(attributes.get(searchAttributes.jobType), "csm");
    assert.equal(attributes.get(searchAttributes.jobState), "queued");
    assert.equal(attributes.get(searchAttributes.tenant), "default");
    const completeBy = attributes.get(searchAttributes.completeBy)?.getTime() ?? 0;
    assert.ok(completeBy >= before + 600_000 && completeBy < Date.now() + 600_000);
    const timeoutSeconds = Number(description.raw.executionConfig?.workflowExecutionTimeout?.seconds);
    assert.equal(timeoutSeconds, 1200);
    const readable = `${await description.staticSummary()}\n${await description.staticDetails()}`;
    assert.match(readable, /csm: speak 1 item of text, voice random/);
    assert.doesNotMatch(readable, /spoken words|password|token/);

    const { events } = await handleOf(id).fetchHistory();
    const payload = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    const { job, settings } = JSON.parse(Buffer.from(payload!).toString()) as { job: JobSpec; settings: object };
    assert.deepEqual(Object.keys(settings).sort(), ["cancelSettleMs", "leaseRenewalMs", "maxGpuAttempts"]);
    assert.equal(job.id, id);
    assert.equal(job.maxTimeSeconds, 1800, "the operator's ceiling applies");
    assert.equal(job.completeBy, completeBy);
    assert.equal(job.priority, "high");
    assert.ok(job.type === "csm");
    assert.equal(job.input.topk, 20);
    assert.deepEqual(job.metadata, { order: 7 });
    assert.equal(job.notifyUrl, "https://user:password@example.com/hook?token=t");
    await handleOf(id).terminate();
  });

  it("gives metadata back as it was sent", async () => {
    const metadata =
      '{"b":1,"a":[null,{"c":null}],"":"","n":[1e+21,0.1,-1,9007199254740991],"u":"Grüße 世界 🦄 \\u0000","lone":"\\ud800"}';
    for (const headers of [{}, { "Content-Encoding": "gzip" }] as Record<string, string>[]) {
      const text = `{"text":"Hello.","metadata":${metadata}}`;
      const response = await api.fetch("/api/v0/csm", {
        method: "POST",
        headers: { "Content-Type": "application/json", ...headers },
        body: "Content-Encoding" in headers ? gzipSync(text) : text,
      });
      assert.equal(response.status, 200, await response.clone().text());
      const { id } = (await response.json()) as { id: string };
      assert.equal(response.headers.get("Location"), `/api/v0/jobs/${id}`);
      assert.ok((await (await api.fetch(`/jobs/${id}`)).text()).includes(`"metadata":${metadata}`));
      await handleOf(id).terminate();
    }
    const refused = await api.post("/csm", '{"text":"Hello.","metadata":{"id":12345678901234567890}}');
    const { errors } = (await refused.json()) as { errors: Record<string, string> };
    assert.match(errors.metadata ?? "", /cannot keep the number 12345678901234567890 as it is: send it as a text/);
  });

  it("reads queued, also under /api/v0 and with its id in upper case", async () => {
    const id = await submit({ text: "Hello." });
    const queued = { id, status: "queued", progress: null };
    for (const path of [`/status/${id}`, `/api/v0/status/${id}`, `/status/${id.toUpperCase()}`]) {
      const { status, body } = await answer(api.fetch(path));
      assert.deepEqual({ status, body }, { status: 200, body: queued });
    }
    const { status, body } = await answer(api.fetch(`/result/${id}`));
    assert.equal(status, 400);
    assert.deepEqual(body, { error: "Job not completed", code: "job_not_completed", status: "queued" });
    await handleOf(id).terminate();
  });

  it("is not found under an id that nobody was given", async () => {
    const id = randomUUID();
    for (const response of [
      api.fetch(`/status/${id}`),
      api.fetch(`/result/${id}`),
      api.post(`/job/${id}`, { status: "cancelled" }),
    ]) {
      const { status, body } = await answer(response);
      assert.equal(status, 404);
      assert.deepEqual(body, { error: "Job not found", code: "job_not_found" });
    }
  });

  it("is asked to end by a signal, and the answer says that nobody acts on it yet", async () => {
    const id = await submit({ text: "Hello." });
    const { status, body } = await answer(api.post(`/job/${id}`, { status: "timed_out", error: "too slow" }));
    assert.equal(status, 202);
    assert.deepEqual(body, { message: `Job ${id} will be marked as timed_out`, pending: true });
    const { events } = await handleOf(id).fetchHistory();
    const signal = events?.map((event) => event.workflowExecutionSignaledEventAttributes).find((it) => it);
    assert.equal(signal?.signalName, "endJob");
    const payload = signal?.input?.payloads?.[0]?.data;
    assert.deepEqual(JSON.parse(Buffer.from(payload!).toString()), { state: "timed_out", error: "too slow" });
    await handleOf(id).terminate();
  });

  it("reads failed once an operator has terminated it, and stays so", async () => {
    const id = await submit({ text: "Hello." });
    await handleOf(id).terminate();
    const error = "Job was terminated by an operator";
    assert.deepEqual((await answer(api.fetch(`/status/${id}`))).body, { id, status: "failed", error });
    const result = await answer(api.fetch(`/result/${id}`));
    assert.deepEqual([result.status, result.body], [200, { id, status: "failed", error }]);
    const marked = await answer(api.post(`/job/${id}`, { status: "cancelled" }));
    assert.deepEqual([marked.status, marked.body], [200, { message: `Job ${id} already failed` }]);
  });

  it("keeps a final state that it showed before it was terminated", async () => {
    const id = await show({ state: "cancelled", error: "no longer needed" });
    await handleOf(id).terminate();
    const { body } = await answer(api.fetch(`/status/${id}`));
    assert.deepEqual(body, { id, status: "cancelled", error: "no longer needed" });
  });

  it("reads failed when the server's own timeout ended it", async () => {
    const id = randomUUID();
    const view = {
      id,
      type: "csm",
      state: "running",
      stage: "rendering",
      completeBy: "2026-01-01T00:00:00.000Z",
      files: [],
    };
    const handle = await client.workflow.start("stand-in", {
      workflowId: ids.job(id),
      taskQueue: `nobody-${id}`,
      memo: { view },
      workflowExecutionTimeout: "1s",
    });
    await assert.rejects(handle.result());
    const { body } = await answer(api.fetch(`/status/${id}`));
    assert.deepEqual(body, { id, status: "failed", error: "Job could not be completed by 2026-01-01T00:00:00.000Z" });
  });

  it("shows its stage while it lives", async () => {
    const id = await show({ state: "running", stage: "uploading" });
    const { body } = await answer(api.fetch(`/status/${id}`));
    assert.deepEqual(body, { id, status: "running", stage: "uploading", progress: null });
    await handleOf(id).terminate();
  });

  for (const [state, error] of [
    ["cancelled", "no longer needed"],
    ["timed_out", "too slow"],
  ] as const) {
    it(`answers 400 to who wants the result of a job that is ${state}`, async () => {
      const id = await show({ state, error });
      const { status, body } = await answer(api.fetch(`/result/${id}`));
      assert.deepEqual([status, body], [400, { id, error, code: `job_${state}`, status: state }]);
      await handleOf(id).terminate();
    });
  }

  it("answers as it ended to who marks it too late", async () => {
    const id = await show({ state: "success" });
    const { status, body } = await answer(api.post(`/job/${id}`, { status: "cancelled" }));
    assert.deepEqual([status, body], [200, { message: `Job ${id} already success` }]);
    await handleOf(id).terminate();
  });

  it("gives its file by a link that needs no key, or leads there", async () => {
    const key = keys.result(randomUUID(), "mp3");
    await api.store.put(key, Readable.from(["sound"]), { contentType: "audio/mpeg" });
    const id = await show({ state: "success", files: [{ key, mimeType: "audio/mpeg", bytes: 5 }] });
    assert.deepEqual((await answer(api.fetch(`/status/${id}`))).body, { id, status: "success" });
    const { status, body } = await answer(api.fetch(`/result/${id}`));
    assert.equal(status, 200);
    assert.deepEqual(Object.keys(body), ["id", "status", "result_url"]);
    const url = String(body.result_url);
    assert.ok(url.startsWith(`${api.url}/files/${key}?`), url);
    assert.equal(await (await fetch(url)).text(), "sound");
    const sevenDays = Date.now() / 1000 + 7 * 24 * 3600;
    assert.ok(Math.abs(Number(new URL(url).searchParams.get("expires")) - sevenDays) < 60);
    const redirect = await api.fetch(`/api/v0/result/${id}?redirect=1`);
    assert.equal(redirect.status, 302);
    assert.equal(await (await fetch(redirect.headers.get("Location") ?? "")).text(), "sound");
    await handleOf(id).terminate();
  });

  it("may tell a receiver at a trusted origin", async () => {
    const trusting = await startTestApi({ client, env: { TRUSTED_ORIGINS: "http://127.0.0.1:9" } });
    const submission = { text: "Hello.", notify_url: "http://127.0.0.1:9/hook" };
    assert.equal((await trusting.post("/csm", submission)).status, 200);
    assert.equal((await api.post("/csm", submission)).status, 400);
    await trusting.close();
  });

  it("makes the service not ready, and the answer says why", async () => {
    const { status, body } = await answer(fetch(`${api.url}/readyz`));
    assert.equal(status, 503);
    assert.equal(body.code, "not_ready");
    assert.deepEqual(body.missing, [
      "no worker polls the task queue c3-render for workflows",
      "no worker polls the task queue c3-render for activities",
      "no worker polls the task queue c3-render-gpu for activities",
    ]);
  });

  it("is no job when its workflow is of another kind", async () => {
    const id = randomUUID();
    await client.workflow.start("stand-in", { workflowId: ids.job(id), taskQueue: `nobody-${id}` });
    assert.equal((await api.fetch(`/status/${id}`)).status, 404);
    await handleOf(id).terminate();
  });

  it("waits in a pool that does not answer: no position, and the answer comes all the same", async () => {
    const id = randomUUID();
    const view = {
      id,
      type: "csm",
      state: "queued",
      stage: "waiting",
      completeBy: "2026-01-01T00:00:00.000Z",
      files: [],
    };
    const gpuType = `test:${id}`;
    await client.workflow.start("stand-in", { workflowId: ids.pool(gpuType), taskQueue: `nobody-${id}` });
    await client.workflow.start("stand-in", {
      workflowId: ids.job(id),
      taskQueue: `nobody-${id}`,
      memo: { view, waiting: { gpuType } },
    });
    const { body } = await answer(api.fetch(`/status/${id}`));
    assert.deepEqual(body, { id, status: "queued", stage: "waiting", progress: null });
    await handleOf(id).terminate();
    await client.workflow.getHandle(ids.pool(gpuType)).terminate();
  });
});
