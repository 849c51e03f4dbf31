import assert from "node:assert/strict";
import { utimes } from "node:fs/promises";
import { join } from "node:path";
import { WorkflowNotFoundError } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { keys } from "../../src/storage/keys.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("the data of a job", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({ gpu: { pools: { "media:fast": { max: 1 } } } });
  });
  after(() => stack.close());

  const remove = async (id: string) => {
    const response = await fetch(`${stack.apiUrl}/jobs/${id}`, { method: "DELETE" });
    return { status: response.status, body: await response.json() };
  };
  const stored = async (id: string) => {
    const found: string[] = [];
    const store = createObjectStore(stack.config.storage, "");
    for (const prefix of keys.everythingOf(id)) for await (const { key } of store.list(prefix)) found.push(key);
    return found;
  };
  const isForgotten = async (workflowId: string) => {
    try {
      await stack.client.workflow.getHandle(workflowId).describe();
      return false;
    } catch (error) {
      assert.ok(error instanceof WorkflowNotFoundError);
      return true;
    }
  };
  const untilNothingIsLeft = async (id: string) => {
    await eventually("its objects are gone", async () => (await stored(id)).length === 0);
    await eventually("its workflows are gone", async () =>
      (await isForgotten(ids.job(id))) && (await isForgotten(ids.webhook(id))) ? true : undefined,
    );
  };
  const assertNotFound = async (id: string) => {
    for (const path of [`/status/${id}`, `/result/${id}`, `/jobs/${id}`, `/jobs/${id}/result`, `/jobs/${id}/events`]) {
      assert.equal((await stack.get(path)).status, 404, path);
    }
    assert.equal((await stack.post(`/job/${id}`, { status: "cancelled" })).status, 404);
    assert.equal((await remove(id)).status, 404);
    const { jobs } = (await stack.get("/jobs?limit=100")).body as { jobs: { id: string }[] };
    assert.ok(!jobs.some((job) => job.id === id), "it is listed");
  };

  it("is kept in a record that answers when Temporal has forgotten the job", async () => {
    const id = await stack.submit({ text: "To be kept.", metadata: { order: 7 } });
    await stack.untilClosed(id);
    const before = (await stack.get(`/jobs/${id}`)).body;
    const { namespace } = stack.client.options;
    await stack.client.workflowService.deleteWorkflowExecution({
      namespace,
      workflowExecution: { workflowId: ids.job(id) },
    });
    await eventually("Temporal has forgotten it", () => isForgotten(ids.job(id)));
    const { result: _link, files: _links, ...document } = before;
    const { result, files, ...recorded } = (await stack.get(`/jobs/${id}`)).body;
    assert.deepEqual(recorded, document);
    assert.ok(result);
    assert.equal((files as unknown[]).length, 1);
    assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "success" });
    const late = await stack.post(`/job/${id}`, { status: "cancelled" });
    assert.deepEqual(late.body, { message: `Job ${id} already success` });
    assert.deepEqual((await remove(id)).body, { message: `Job ${id} already success and data removed` });
    await assertNotFound(id);
    await untilNothingIsLeft(id);
  });

  it("is removed with a job that renders: 404 at once, its GPU is freed, its caller is told", async () => {
    stack.simulator.settings.renderSeconds = 2;
    const count = stack.simulator.renders().length;
    const notify_url = `${stack.simulator.url}/sim/hooks/removed`;
    const id = await stack.submit({ text: "To be removed.", notify_url });
    await eventually("it renders", () => stack.simulator.renders().length > count);
    const answer = await remove(id);
    assert.deepEqual(answer, { status: 200, body: { message: `Job ${id} marked as cancelled and data removed` } });
    await assertNotFound(id);
    stack.simulator.settings.renderSeconds = 0;
    await stack.untilState(await stack.submit({ text: "The next one." }), "success");
    await untilNothingIsLeft(id);
    assert.equal(JSON.parse(stack.simulator.received("removed")[0]!.body).status, "cancelled");
    assert.equal(stack.simulator.instances().length, 1);
  });

  it("is removed of a job that has ended", async () => {
    const id = await stack.submit({ text: "Done." });
    await stack.untilClosed(id);
    const answer = await stack.post(`/job/${id}`, { status: "cancelled", remove_data: true });
    assert.deepEqual(answer.body, { message: `Job ${id} already success and data removed` });
    await assertNotFound(id);
    await untilNothingIsLeft(id);
  });

  it("is removed by the daily round when it is too old, and younger ones stay", async () => {
    const [old, young] = [await stack.submit({ text: "Old." }), await stack.submit({ text: "Young." })];
    for (const id of [old, young]) await stack.untilClosed(id);
    assert.ok(stack.config.storage.kind === "filesystem");
    const monthAgo = Date.now() / 1000 - 31 * 24 * 3600;
    for (const key of await stored(old)) await utimes(join(stack.config.storage.dir, key), monthAgo, monthAgo);
    await stack.client.schedule.getHandle("remove-expired").trigger();
    await eventually("the old one is removed", async () => (await stored(old)).length === 0);
    assert.equal((await stored(young)).length, 2);
    const { status, body } = await stack.get(`/jobs/${old}`);
    assert.equal(status, 200, "Temporal still knows it");
    assert.equal(body.status, "success");
  });

  it("is written down for a job that an operator terminated, too", async () => {
    stack.simulator.settings.renderSeconds = 1;
    await stack.submit({ text: "Has the GPU." });
    const id = await stack.submit({ text: "Terminated." });
    await stack.client.workflow.getHandle(ids.job(id)).terminate();
    await eventually("its record", async () => (await stored(id)).includes(keys.record(id)));
    const { namespace } = stack.client.options;
    await stack.client.workflowService.deleteWorkflowExecution({
      namespace,
      workflowExecution: { workflowId: ids.job(id) },
    });
    await eventually("Temporal has forgotten it", () => isForgotten(ids.job(id)));
    const error = "Job was terminated by an operator";
    assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "failed", error });
    stack.simulator.settings.renderSeconds = 0;
  });
});

describe("a job that waits for nobody", () => {
  it("is removed only when a worker is there: 202, and it is still shown", async () => {
    const stack = await startTestStack({ withoutWorker: true });
    const id = await stack.submit();
    const response = await fetch(`${stack.apiUrl}/jobs/${id}`, { method: "DELETE" });
    assert.equal(response.status, 202);
    assert.equal(((await response.json()) as { pending: boolean }).pending, true);
    assert.equal((await stack.get(`/status/${id}`)).body.status, "queued");
    for (const workflowId of [ids.job(id), ids.removal(id)])
      await stack.client.workflow.getHandle(workflowId).terminate();
    await stack.stop();
  });
});
