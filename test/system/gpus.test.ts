import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { ids } from "../../src/contracts/names.ts";
import { endJob, resizePool } from "../../src/contracts/signals.ts";
import type { ElsewhereReport, PoolReport } from "../../src/gpus/types.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { readJson } from "../../src/storage/jsonDocuments.ts";
import { keys } from "../../src/storage/keys.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";

describe("GPUs", () => {
  let stack: TestStack;
  const start = async (options: TestStackOptions = {}) => {
    stack = await startTestStack(options);
    return stack;
  };
  afterEach(() => stack.close());

  const running = () => stack.simulator.instances().filter((instance) => instance.ended === undefined);
  const launches = () => stack.simulator.calls().filter((call) => call.path.endsWith("/launch"));
  const succeed = async (text: string) => {
    const id = await stack.submit({ text });
    await stack.untilState(id, "success");
    return id;
  };

  it("are shared: two jobs in a row run on one instance", async () => {
    await start();
    const first = await succeed("One.");
    const second = await succeed("Two.");
    assert.equal((await stack.view(first)).gpu?.id, (await stack.view(second)).gpu?.id);
    assert.equal(stack.simulator.instances().length, 1);
  });

  it("are two for two jobs at once", async () => {
    await start({ renderSeconds: 2 });
    const jobs = [await stack.submit({ text: "One." }), await stack.submit({ text: "Two." })];
    await Promise.all(jobs.map((id) => stack.untilState(id, "success")));
    assert.equal(stack.simulator.instances().length, 2);
    const views = await Promise.all(jobs.map((id) => stack.view(id)));
    assert.equal(new Set(views.map((view) => view.gpu?.node)).size, 2);
  });

  it("are never more than the limit", async () => {
    await start({ renderSeconds: 0.5, gpu: { pools: { "media:fast": { max: 2 } } } });
    const jobs = await Promise.all(Array.from({ length: 6 }, (_, n) => stack.submit({ text: `Job ${n}.` })));
    await Promise.all(jobs.map((id) => stack.untilState(id, "success")));
    assert.equal(stack.simulator.instances().length, 2);
  });

  it("are stopped once when nobody needed them for the idle timeout, counted from the end of the last job", async () => {
    await start({ gpu: { idleTimeoutMs: 1500 }, renderSeconds: 2 });
    await succeed("One.");
    const { finishedAt } = stack.simulator.renders()[0]!;
    await eventually("the instance is stopped", () => running().length === 0);
    const stops = stack.simulator.calls().filter((call) => call.path.endsWith("/stop"));
    assert.equal(stops.length, 1);
    assert.ok(stops[0]!.at - finishedAt! >= 1500, "it was stopped before the idle timeout was over");
    await succeed("Another one is launched when it is needed.");
    assert.equal(stack.simulator.instances().length, 2);
  });

  it("cost no second instance when the answer to a launch is lost", async () => {
    await start();
    stack.simulator.fault({ service: "comput3", path: "/launch", action: "drop_reply", times: 1 });
    await succeed("One.");
    assert.equal(launches().length, 1);
    assert.equal(stack.simulator.instances().length, 1);
  });

  it("cost a second instance only for a moment when the answer to a launch comes too late", async () => {
    await start({ timeoutMs: 300 });
    stack.simulator.fault({ service: "comput3", path: "/launch", action: "delay", delay_ms: 1000, times: 1 });
    await succeed("One.");
    assert.equal(stack.simulator.instances().length >= 1, true);
    await eventually("both launches arrived", () => stack.simulator.instances().length === 2);
    await eventually("one of them was stopped", () => running().length === 1);
    await succeed("The one that is left works.");
  });

  for (const action of ["status", "html_error", "reset"] as const) {
    it(`are had in spite of a control API that answers with: ${action}`, async () => {
      await start();
      stack.simulator.fault({ service: "comput3", action, times: 4 });
      await succeed("One.");
      assert.equal(stack.simulator.instances().length, 1);
    });
  }

  it("are replaced when their node stops answering, and the job goes on on another one", async () => {
    await start({ renderSeconds: 5 });
    const id = await stack.submit();
    const [render] = await eventually("a render", () =>
      stack.simulator.renders().length > 0 ? stack.simulator.renders() : undefined,
    );
    stack.simulator.settings.renderSeconds = 0.1;
    stack.simulator.fault({ service: "node", action: "kill_node", node: render!.node });
    const view = await stack.untilState(id, "success");
    assert.equal(view.attempts, 2);
    assert.equal(stack.simulator.instances().find(({ node }) => node === render!.node)?.why, "stopped");
  });

  it("are replaced when they vanish; a job that loses too many fails and says why", async () => {
    await start({ renderSeconds: 30, gpu: { maxAttempts: 2 } });
    const id = await stack.submit();
    for (const count of [1, 2]) {
      await eventually(`render ${count}`, () => stack.simulator.renders().length === count);
      stack.simulator.fault({ service: "node", action: "vanish", node: stack.simulator.renders().at(-1)!.node });
    }
    const { error } = await stack.untilState(id, "failed");
    assert.match(error ?? "", /^the GPU was lost: node .* (is gone|does not answer)/);
  });

  it("are kept although jobs fail on them, by what the model says", async () => {
    await start();
    for (const text of ["One.", "Two.", "Three."]) {
      stack.simulator.fault({ service: "csm", action: "render_error", times: 1 });
      assert.match(
        (await stack.untilState(await stack.submit({ text }), "failed")).error ?? "",
        /Generation failed|fault/,
      );
    }
    const served = await stack.view(await succeed("The next one."));
    assert.deepEqual([served.attempts, stack.simulator.instances().length], [1, 1]);
  });

  it("are retired when they refuse their key", async () => {
    await start();
    stack.simulator.fault({ service: "csm", action: "status", path: "/config", status: 401, times: 1 });
    const { error } = await stack.untilState(await stack.submit(), "failed");
    assert.equal(error, "the node refused the API key (401)");
    await eventually("the instance is retired", () => running().length === 0);
  });

  it("are kept warm without a job, as many as an operator wants, and not longer", async () => {
    await start({ gpu: { idleTimeoutMs: 300 } });
    const resize = async (size: Record<string, number>) => {
      const response = await fetch(`${stack.apiUrl}/pools/media:fast`, {
        method: "PATCH",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(size),
      });
      assert.equal(response.status, 200, await response.text());
    };
    await resize({ min: 1 });
    const [gpu] = await eventually("an instance is kept", async () => {
      const { gpus } = (await stack.get("/gpus")).body as { gpus: { since: string; kept?: boolean; state: string }[] };
      return gpus.length === 1 && gpus[0]?.kept === true && gpus[0].state === "idle" ? gpus : undefined;
    });
    const idleSince = Date.parse(gpu!.since);
    await succeed("On a warm instance.");
    await eventually("several idle timeouts are over", () => Date.now() > idleSince + 1500);
    assert.equal(running().length, 1);
    await resize({ min: 0 });
    await eventually("it is stopped", () => running().length === 0);
    assert.equal(launches().length, 1);
  });

  it("are not launched while their pool is paused", async () => {
    await start();
    await succeed("One.");
    const pool = stack.client.workflow.getHandle(ids.pool("media:fast"));
    await pool.signal(resizePool, { paused: true });
    const id = await stack.submit({ text: "Held." });
    await eventually("it waits", async () => (await stack.get(`/status/${id}`)).body.position === 1);
    await pool.signal(resizePool, { paused: false });
    await stack.untilState(id, "success");
  });

  it("are not launched for ever: a job whose GPU cannot be had waits until its deadline", async () => {
    await start({ gpu: { launchRetryMs: [300, 300] } });
    stack.simulator.fault({ service: "comput3", path: "/launch", action: "status" });
    const id = await stack.start({ completeBy: Date.now() + 3000 });
    assert.equal((await stack.untilState(id, "failed")).error, "Job expired before processing could begin");
    assert.equal(stack.simulator.instances().length, 0);
    assert.ok(launches().length < 30, `${launches().length} launches were tried`);
  });

  it("have what waits for them published, in the pool and on its way to it, and no pool that is gone", async () => {
    await start();
    const store = createObjectStore(stack.config.storage, "");
    const waiting = async (key: string) => ((await readJson(store, key)) as PoolReport | ElsewhereReport)?.waiting;
    const pool = stack.client.workflow.getHandle(ids.pool("media:fast"));
    await succeed("So that there is a pool.");
    await pool.signal(resizePool, { paused: true });
    const held = await stack.submit({ text: "Held." });
    await eventually("its pool speaks of it", async () => (await waiting(keys.poolReport("media:fast")))?.length === 1);
    await eventually("the job is told", async () => (await stack.get(`/status/${held}`)).body.waiting_for === "paused");
    const id = randomUUID();
    const preparing = await stack.client.workflow.start("renderJob", {
      workflowId: ids.job(id),
      taskQueue: `nobody-${id}`,
      memo: { view: { id, state: "queued", tenant: "anna" } },
    });
    await eventually("the reconciler speaks of it", async () => {
      const found = await waiting(keys.elsewhereReport);
      return found?.length === 1 && assert.deepEqual(found, [["anna", 1]]) === undefined;
    });
    await preparing.terminate();
    await stack.client.workflow.getHandle(ids.job(held)).signal(endJob, { state: "cancelled" });
    await eventually("nobody waits any more", async () => (await waiting(keys.elsewhereReport))?.length === 0);
    await stack.untilClosed(held);
    for (const { id: gpuId } of (await stack.get("/gpus")).body.gpus as { id: string }[])
      await stack.client.workflow.getHandle(gpuId).cancel();
    await eventually("the instance is gone", () => running().length === 0);
    await pool.terminate();
    await eventually("nothing is said of a pool that is gone", async () => {
      return (await readJson(store, keys.poolReport("media:fast"))) === undefined;
    });
  });
});
