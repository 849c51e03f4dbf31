import assert from "node:assert/strict";
import { rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ids } from "../../src/contracts/names.ts";
import { leaseLost } from "../../src/contracts/signals.ts";
import { releaseInstances, resumePools } from "../../src/dev/instances.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { writePoolOverrides } from "../../src/storage/poolOverrides.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";
import { startApiProcess } from "../support/workerProcess.ts";

const TYPE = "media:fast";

async function fetchAll(url: unknown): Promise<Response> {
  const response = await fetch(String(url));
  assert.ok((await response.arrayBuffer()).byteLength > 0);
  return response;
}

/** Lines of the failure table that no other test has; short looks of the reconciler, and no other healer. */
describe("what happens when", () => {
  let stack: TestStack;
  let metricsUrl: string;

  before(async () => {
    const port = await freePort(0, "metrics", () => {});
    metricsUrl = `http://127.0.0.1:${port}/metrics`;
    stack = await startTestStack({
      env: { METRICS_PORT: String(port) },
      timeoutMs: 1000,
      gpu: { pools: { [TYPE]: { max: 2 } }, reconcileIntervalMs: 300, launchRetryMs: [50] },
    });
  });
  afterEach(() => {
    stack.simulator.clearFaults();
    stack.simulator.settings.renderSeconds = undefined;
  });
  after(() => stack.close());

  const workflow = (id: string) => stack.client.workflow.getHandle(id);
  const terminate = (id: string) => workflow(id).terminate("an operator's test");
  const statusOf = async (id: string) => (await workflow(id).describe()).status.name;
  const untilClosed = (id: string) =>
    eventually(`${id} is closed`, async () => {
      const status = await statusOf(id);
      return status === "RUNNING" ? undefined : status;
    });
  const hook = (name: string, query = "") => `${stack.simulator.url}/sim/hooks/${name}${query}`;
  const told = (name: string) =>
    eventually(`${name} is told`, () => stack.simulator.received(name)[0]).then(({ body }) => JSON.parse(body));
  const instances = () => stack.simulator.instances();
  const running = () => instances().filter(({ ended }) => ended === undefined);
  const untilStopped = (node: string) =>
    eventually(`${node} is stopped`, () => instances().find((one) => one.node === node)?.why === "stopped");

  async function submitRendering(seconds: number, more: Record<string, unknown> = {}) {
    stack.simulator.settings.renderSeconds = seconds;
    const count = stack.simulator.renders().length;
    const id = await stack.submit({ text: "It renders.", ...more });
    await eventually("it renders", () => stack.simulator.renders().length > count);
    const view = await stack.view(id);
    assert.ok(view.gpu !== undefined);
    return { id, gpu: view.gpu };
  }
  const succeed = async (text: string) => stack.untilState(await stack.submit({ text }), "success");

  async function metric(name: string): Promise<number | undefined> {
    const lines = (await (await fetch(metricsUrl)).text()).split("\n");
    const line = lines.find((candidate) => candidate.startsWith(`c3_render_${name}`));
    return line === undefined ? undefined : Number(line.split(" ").at(-1));
  }
  const untilMetric = (name: string, value: number) =>
    eventually(`${name} is ${value}`, async () => (await metric(name)) === value);

  /** As somebody else with the same account does it. */
  async function rent(expires: number): Promise<{ workload: string; node: string }> {
    const { comput3Url, apiKey } = stack.simulator;
    const body = JSON.stringify({ type: TYPE, expires });
    const headers = { "Content-Type": "application/json", "X-C3-API-KEY": apiKey };
    const response = await fetch(`${comput3Url}/launch`, { method: "POST", headers, body });
    return (await response.json()) as { workload: string; node: string };
  }

  describe("the API dies", () => {
    it("by SIGKILL, while a job renders: the job runs on, and any other API tells how it is", async () => {
      stack.simulator.settings.renderSeconds = 2;
      const port = await freePort(0, "an API", () => {});
      const api = await startApiProcess(stack.config, port);
      const count = stack.simulator.renders().length;
      const response = await fetch(`http://127.0.0.1:${port}/csm`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ text: "It survives.", notify_url: hook("api") }),
      });
      const { id } = (await response.json()) as { id: string };
      await eventually("it renders", () => stack.simulator.renders().length > count);
      await api.kill();
      assert.equal((await stack.get(`/status/${id}`)).body.status, "running");
      assert.equal((await stack.untilState(id, "success")).attempts, 1);
      assert.equal((await told("api")).status, "success");
    });

    it("by SIGTERM: it ends in order", async () => {
      const api = await startApiProcess(stack.config, await freePort(0, "an API", () => {}));
      assert.equal(await api.stop(), 0);
    });
  });

  describe("Comput3 does not answer", () => {
    for (const action of ["html_error", "hang"] as const) {
      it(`(${action}) while a job renders: the job does not notice`, async () => {
        const { id } = await submitRendering(1);
        stack.simulator.fault({ service: "comput3", action });
        assert.equal((await stack.untilState(id, "success")).attempts, 1);
      });
    }
  });

  describe("the object store", () => {
    const results = () => {
      assert.equal(stack.config.storage.kind, "filesystem");
      return join(stack.config.storage.kind === "filesystem" ? stack.config.storage.dir : "", "results");
    };

    it("refuses the result: the upload is tried again, not the render, and there is no success before it", async () => {
      await succeed("There are results.");
      const kept = `${results()}-kept`;
      await rename(results(), kept);
      await writeFile(results(), "no folder");
      const { id } = await submitRendering(0);
      const count = stack.simulator.renders().length;
      await eventually("the upload is tried again", async () => {
        const { raw } = await workflow(ids.job(id)).describe();
        return raw.pendingActivities?.some(
          (one) => one.activityType?.name === "uploadResult" && (one.attempt ?? 0) > 1,
        );
      });
      assert.deepEqual((await stack.get(`/status/${id}`)).body.status, "running");
      await rm(results());
      await rename(kept, results());
      await stack.untilState(id, "success");
      assert.equal(stack.simulator.renders().length, count);
      const { result_url: url } = (await stack.get(`/result/${id}`)).body;
      assert.equal((await fetchAll(url)).status, 200);
    });
  });

  describe("a webhook's receiver is slow", () => {
    it("the job ends all the same, and its GPU is lent again", async () => {
      const id = await stack.submit({ text: "Slowly.", notify_url: hook("slow", "?delay_ms=1500") });
      assert.equal(await stack.untilClosed(id), "COMPLETED");
      assert.equal(await statusOf(ids.webhook(id)), "RUNNING");
      await succeed("The next one.");
      assert.equal(await untilClosed(ids.webhook(id)), "COMPLETED");
      assert.equal(stack.simulator.received("slow").length, 1);
    });
  });

  describe("an operator terminates", () => {
    it("a manager whose job renders: the job is told before the instance is stopped, and gets another one", async () => {
      const before = (await metric("gpu_orphans_stopped_total")) ?? 0;
      const { id, gpu } = await submitRendering(8);
      const terminatedAt = Date.now();
      await terminate(gpu.id);
      await untilStopped(gpu.node);
      stack.simulator.settings.renderSeconds = 0;
      const { attempts } = await stack.untilState(id, "success");
      assert.equal(attempts, 2);
      const { events } = await workflow(ids.job(id)).fetchHistory();
      const loss = events?.find(
        (event) => event.workflowExecutionSignaledEventAttributes?.signalName === leaseLost.name,
      );
      assert.ok(loss?.eventTime);
      const toldAt = Number(loss.eventTime.seconds) * 1000 + (loss.eventTime.nanos ?? 0) / 1e6;
      const stopped = stack.simulator.calls().find(({ path, at }) => path.endsWith("/stop") && at >= terminatedAt);
      assert.ok(stopped !== undefined && stopped.at >= Math.floor(toldAt), "it was stopped before");
      await untilMetric("gpu_orphans_stopped_total", before + 1);
    });

    it("a manager that is idle: its instance is stopped, and the next job gets another one", async () => {
      const { gpu } = await succeed("Leaves an idle instance.");
      const before = (await metric("gpu_orphans_stopped_total")) ?? 0;
      await terminate(gpu!.id);
      await untilMetric("gpu_orphans_stopped_total", before + 1);
      await untilStopped(gpu!.node);
      const next = await succeed("On another one.");
      assert.notEqual(next.gpu?.node, gpu!.node);
      assert.equal(next.attempts, 1);
    });

    it("a manager whose instance cannot be stopped, and its pool: jobs are served, and the instance is stopped later", async () => {
      const { gpu } = await succeed("Leaves an idle instance.");
      stack.simulator.fault({ service: "comput3", path: "/stop", action: "status" });
      await Promise.all([terminate(gpu!.id), terminate(ids.pool(TYPE))]);
      await succeed("On another one.");
      stack.simulator.clearFaults();
      await untilStopped(gpu!.node);
    });

    it("a job that waits: its caller is told once, and no GPU is held for it", async () => {
      const before = (await metric("jobs_terminated_total")) ?? 0;
      const holders = [await submitRendering(1.5), await submitRendering(1.5)];
      const id = await stack.submit({ text: "Never spoken.", notify_url: hook("waited") });
      await eventually("it waits", async () => (await stack.view(id)).stage === "waiting");
      await terminate(ids.job(id));
      const error = "Job was terminated by an operator";
      assert.deepEqual(await told("waited"), { id, status: "failed", error });
      assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "failed", error });
      for (const holder of holders) await stack.untilState(holder.id, "success");
      await succeed("The next one.");
      await eventually("the pool forgets it", async () => {
        const { queue } = (await stack.get(`/pools/${TYPE}`)).body as { queue: unknown[] | null };
        return queue?.length === 0;
      });
      assert.equal(await metric("jobs_terminated_total"), before + 1);
      assert.equal(stack.simulator.received("waited").length, 1);
    });

    it("a job that was cancelled and whose run has not ended yet: its caller hears that it was cancelled", async () => {
      const { id, gpu } = await submitRendering(3, { notify_url: hook("both") });
      await stack.post(`/job/${id}`, { status: "cancelled" });
      await eventually("it shows", async () => (await stack.view(id)).state === "cancelled");
      assert.equal(await statusOf(ids.job(id)), "RUNNING");
      await terminate(ids.job(id));
      const { status } = (await stack.get(`/status/${id}`)).body;
      assert.deepEqual([status, (await told("both")).status], ["cancelled", "cancelled"]);
      await stack.post(`/gpus/${gpu.id}/drain`, { now: true });
    });
  });

  describe("an instance runs", () => {
    it("that nobody here launched: it is reported, and never touched", async () => {
      const { workload, node } = await rent(Math.floor(Date.now() / 1000) + 1000);
      await untilMetric("gpu_foreign_instances", 1);
      await succeed("Meanwhile.");
      assert.equal(running().filter((one) => one.workload === workload).length, 1);
      stack.simulator.fault({ service: "node", action: "vanish", node });
      await untilMetric("gpu_foreign_instances", 0);
    });

    it("whose launch was answered after its manager had given up: it is stopped", async () => {
      const { gpu } = await succeed("Leaves an idle instance.");
      await stack.post(`/gpus/${gpu!.id}/drain`, {});
      assert.equal(await untilClosed(gpu!.id), "COMPLETED");
      const late = await rent(Number(gpu!.id.split("-").at(-1)));
      await untilStopped(late.node);
    });
  });

  describe("somebody presses Cancel in the Web UI on", () => {
    it("a job that waits: it is cancelled and leaves the queue", async () => {
      const holders = [await submitRendering(1), await submitRendering(1)];
      const id = await stack.submit({ text: "Never spoken." });
      await eventually("it waits", async () => (await stack.view(id)).stage === "waiting");
      await workflow(ids.job(id)).cancel();
      assert.equal(await stack.untilClosed(id), "CANCELLED");
      assert.equal((await stack.view(id)).state, "cancelled");
      for (const holder of holders) await stack.untilState(holder.id, "success");
    });

    it("a job that runs on Modal: it is cancelled, and so is its call", async () => {
      stack.simulator.settings.renderSeconds = 30;
      const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;
      const { body } = await stack.post("/jobs", { image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") });
      const id = String(body.job_id);
      const call = () => stack.simulator.renders().find((render) => render.arguments.job_id === id);
      await eventually("it runs", call);
      await workflow(ids.job(id)).cancel();
      assert.equal(await stack.untilClosed(id), "CANCELLED");
      await eventually("the call is cancelled", () => call()?.outcome === "interrupted");
    });

    it("a webhook: it is tried no more, and the job keeps its state", async () => {
      const id = await stack.submit({ text: "Hi.", notify_url: hook("refused", "?fail=99&delay_ms=100") });
      await told("refused");
      await workflow(ids.webhook(id)).cancel();
      assert.equal(await untilClosed(ids.webhook(id)), "CANCELLED");
      assert.ok(stack.simulator.received("refused").length < 5);
      assert.equal(await stack.untilClosed(id), "COMPLETED");
    });

    it("the reconciler: it ends, and the hourly Schedule brings it back", async () => {
      await workflow(ids.reconciler).cancel();
      assert.equal(await untilClosed(ids.reconciler), "CANCELLED");
      await stack.client.schedule.getHandle("ensure-reconciler").trigger();
      await eventually("it runs", async () => (await statusOf(ids.reconciler)) === "RUNNING");
    });
  });

  describe("the embedded stack is stopped by Ctrl-C", () => {
    const store = () => createObjectStore(stack.config.storage, "");

    it("its instances are stopped first, the jobs on them go on at the next start", async () => {
      const { id, gpu } = await submitRendering(20);
      const said: string[] = [];
      await releaseInstances(stack.client, (line) => said.push(line), 45_000);
      assert.deepEqual(running(), []);
      assert.match(said.join("\n"), new RegExp(`^Stopping \\d GPU instance\\(s\\) first: .*${gpu.id}`));
      await eventually("it waits", async () => (await stack.view(id)).stage === "waiting");
      stack.simulator.settings.renderSeconds = 0;
      await resumePools(stack.client, store(), [TYPE]);
      assert.equal((await stack.untilState(id, "success")).attempts, 2);
    });

    it("and a pool that an operator has paused stays so", async () => {
      await writePoolOverrides(store(), TYPE, { paused: true });
      await releaseInstances(stack.client, () => {}, 45_000);
      await resumePools(stack.client, store(), [TYPE]);
      const id = await stack.submit({ text: "Held." });
      const reason = () => stack.get(`/status/${id}`).then(({ body }) => body.waiting_for);
      assert.equal(await eventually("it says why", reason), "paused");
      await writePoolOverrides(store(), TYPE, {});
      await resumePools(stack.client, store(), [TYPE]);
      await stack.untilState(id, "success");
    });
  });

  describe("no instance can be had", () => {
    it("a waiting job says that the provider is not available", async () => {
      await releaseInstances(stack.client, () => {}, 45_000);
      await resumePools(stack.client, createObjectStore(stack.config.storage, ""), [TYPE]);
      stack.simulator.fault({ service: "comput3", path: "/launch", action: "status" });
      const id = await stack.submit({ text: "It waits." });
      await eventually("it says why", async () => {
        return (await stack.get(`/status/${id}`)).body.waiting_for === "provider_unavailable";
      });
      await stack.post(`/job/${id}`, { status: "cancelled" });
      await stack.untilClosed(id);
    });
  });
});
