import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ids } from "../../src/contracts/names.ts";
import { startTemporalServer } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";
import { startWorkerProcess, type WorkerProcess } from "../support/workerProcess.ts";

const SECRET = "a secret that signs webhooks";

describe("what dies", () => {
  let stack: TestStack;
  const healing = { leaseRenewalMs: 500, leaseTimeoutMs: 4000, reconcileIntervalMs: 500 };
  const start = async (options: TestStackOptions = {}) => {
    stack = await startTestStack({ ...options, gpu: { ...healing, ...options.gpu } });
  };
  const untilRendering = (count = 1) =>
    eventually("a render", () => stack.simulator.renders().length >= count || undefined);
  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;
  const terminate = (workflowId: string) => stack.client.workflow.getHandle(workflowId).terminate("an operator's test");

  describe("a worker, by SIGKILL, while it renders", () => {
    const workers: WorkerProcess[] = [];
    afterEach(async () => {
      // Whatever the test did: somebody must stop the instances.
      workers.push(await startWorkerProcess(stack.config));
      await stack.close();
      for (const worker of workers.splice(0)) await worker.stop();
    });

    it("the job succeeds on another worker, with one result and one webhook", async function () {
      this.timeout(120_000);
      await start({ withoutWorker: true, renderSeconds: 3, env: { WEBHOOK_SECRET: SECRET } });
      workers.push(await startWorkerProcess(stack.config));
      const id = await stack.submit({ text: "It survives.", notify_url: `${hook("killed")}?token=a-token-in-a-query` });
      await untilRendering();
      await workers[0]!.kill();
      workers.push(await startWorkerProcess(stack.config));
      const view = await eventually(
        "success",
        async () => {
          const seen = await stack.view(id);
          return seen.state === "success" ? seen : undefined;
        },
        90_000,
      );
      assert.equal(view.files.length, 1);
      assert.equal((await stack.get(`/result/${id}`)).status, 200);
      await stack.untilClosed(id);
      await eventually("the webhook", () => stack.simulator.received("killed").length > 0);
      assert.equal(stack.simulator.received("killed").length, 1);
      const output = workers.map((worker) => worker.output()).join("\n");
      assert.ok(output.includes(id), "the workers log what they do");
      for (const secret of [stack.config.comput3.apiKey, SECRET, "a-token-in-a-query"]) {
        assert.ok(!output.includes(secret!), `${secret} is in a log line`);
      }
    });
  });

  it("the Temporal server, restarted while a job renders: the job goes on", async function () {
    this.timeout(120_000);
    const dataDir = await mkdtemp(join(tmpdir(), "c3-render-temporal-"));
    const options = { executable: await temporalExecutable(), dataDir, say: () => {} };
    let server = await startTemporalServer({ ...options, port: 0 });
    const port = Number(server.address.split(":")[1]);
    try {
      await start({ temporalAddress: server.address, renderSeconds: 4 });
      const id = await stack.submit({ text: "It survives.", notify_url: hook("restarted") });
      await untilRendering();
      await server.stop();
      server = await startTemporalServer({ ...options, port });
      assert.equal(server.address, `127.0.0.1:${port}`);
      await stack.untilState(id, "success");
      await eventually("the webhook", () => stack.simulator.received("restarted").length > 0);
      assert.equal(stack.simulator.received("restarted").length, 1);
      await stack.close();
    } finally {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    }
  });

  describe("a job that an operator resets", () => {
    afterEach(() => stack.close());

    /** To its first step, as the Web UI does. */
    async function reset(id: string): Promise<void> {
      const { client } = stack;
      const { namespace } = client.options;
      const workflowId = ids.job(id);
      const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
      const first = events?.find((event) => event.workflowTaskCompletedEventAttributes);
      await client.workflowService.resetWorkflowExecution({
        namespace,
        workflowExecution: { workflowId },
        reason: "an operator's test",
        requestId: randomUUID(),
        workflowTaskFinishEventId: first!.eventId!,
      });
    }
    const runsOf = async (id: string) => {
      const statuses: string[] = [];
      const query = `WorkflowId = '${ids.job(id)}'`;
      for await (const { status } of stack.client.workflow.list({ query })) statuses.push(status.name);
      return statuses.sort();
    };
    const listed = async (query = "") => {
      const { jobs } = (await stack.get(`/jobs${query}`)).body as { jobs: { id: string; status: string }[] };
      return jobs.map(({ id, status }) => [id, status]);
    };

    it("goes on, with its inputs; its caller is told once, and it is one job until nothing of it is left", async () => {
      await start({ renderSeconds: 3 });
      const audio_url = `${stack.simulator.url}/sim/files/voice.wav`;
      const { body } = await stack.post("/whisper", { audio_url, notify_url: hook("reset") });
      const id = String(body.id);
      await untilRendering();
      const looked = async () => (await stack.client.workflow.getHandle(ids.reconciler).describe()).historyLength;
      await reset(id);
      await eventually("both runs are listed", async () => (await runsOf(id)).join() === "RUNNING,TERMINATED");
      const before = await looked();
      await eventually("the reconciler has looked twice", async () => (await looked()) > before + 20);
      assert.notDeepEqual(await stack.storedInputs(id), []);
      assert.deepEqual(stack.simulator.received("reset"), []);
      assert.deepEqual(await listed(), [[id, "queued"]]);
      assert.deepEqual(await listed("?status=failed"), []);

      stack.simulator.settings.renderSeconds = 0;
      await stack.untilState(id, "success");
      assert.equal(await stack.untilClosed(id), "COMPLETED");
      await eventually("the webhook", () => stack.simulator.received("reset").length > 0);
      const told = stack.simulator.received("reset").map((hook) => JSON.parse(hook.body).status);
      assert.deepEqual(told, ["success"]);
      assert.deepEqual(await listed(), [[id, "success"]]);

      await fetch(`${stack.apiUrl}/jobs/${id}`, { method: "DELETE" });
      await eventually("no run is left", async () => (await runsOf(id)).length === 0);
    });
  });

  describe("a workflow that an operator terminates", () => {
    afterEach(() => stack.close());

    it("a pool: the waiting jobs are served all the same", async () => {
      await start({ renderSeconds: 1, gpu: { pools: { "media:fast": { max: 1 } } } });
      const jobs = await Promise.all(["One.", "Two.", "Three."].map((text) => stack.submit({ text })));
      await untilRendering();
      await terminate(ids.pool("media:fast"));
      for (const id of jobs) await stack.untilState(id, "success");
      assert.equal(stack.simulator.instances().length, 1);
    });

    it("a manager: its instance is stopped, and its job renders on another one", async () => {
      await start({ renderSeconds: 4 });
      const id = await stack.submit();
      await untilRendering();
      const first = (await stack.view(id)).gpu!;
      await terminate(first.id);
      const view = await stack.untilState(id, "success");
      assert.equal(view.attempts, 2);
      assert.notEqual(view.gpu?.id, first.id);
      await eventually(
        "the orphan is stopped",
        () => stack.simulator.instances().find(({ node }) => node === first.node)?.why === "stopped" || undefined,
      );
    });

    it("a manager and a pool: both are healed although the provider stops nothing", async () => {
      await start({ renderSeconds: 4 });
      const id = await stack.submit();
      await untilRendering();
      stack.simulator.fault({ service: "comput3", path: "/stop", action: "status" });
      const first = (await stack.view(id)).gpu!;
      await Promise.all([terminate(first.id), terminate(ids.pool("media:fast"))]);
      stack.simulator.settings.renderSeconds = 0;
      await stack.untilState(id, "success");
      const orphan = () => stack.simulator.instances().find(({ node }) => node === first.node);
      assert.equal(orphan()?.ended, undefined);
      stack.simulator.clearFaults();
      await eventually("the orphan is stopped", () => orphan()?.why === "stopped" || undefined);
    });

    it("a job: its caller is told, and its GPU is not lost", async () => {
      await start({ renderSeconds: 4 });
      const id = await stack.submit({ text: "Terminated.", notify_url: hook("terminated") });
      await untilRendering();
      await terminate(ids.job(id));
      assert.deepEqual((await stack.get(`/status/${id}`)).body, {
        id,
        status: "failed",
        error: "Job was terminated by an operator",
      });
      const body = await eventually("the webhook", () => stack.simulator.received("terminated")[0]?.body);
      assert.deepEqual(JSON.parse(body), { id, status: "failed", error: "Job was terminated by an operator" });
      await eventually("the lease is taken back", () => stack.simulator.instances()[0]?.why === "stopped" || undefined);
      stack.simulator.settings.renderSeconds = 0;
      await stack.untilState(await stack.submit({ text: "The next." }), "success");
    });

    it("the reconciler: the hourly Schedule brings it back", async () => {
      await start();
      await terminate(ids.reconciler);
      await stack.client.schedule.getHandle("ensure-reconciler").trigger();
      await eventually("it runs", async () => {
        const { status } = await stack.client.workflow.getHandle(ids.reconciler).describe();
        return status.name === "RUNNING" || undefined;
      });
    });

    it("the reconciler: it is back when a pool needs it", async () => {
      await start();
      await terminate(ids.reconciler);
      await stack.untilState(await stack.submit(), "success");
    });
  });

  describe("a workflow that is cancelled in the Web UI", () => {
    afterEach(() => stack.close());

    it("a manager: it finishes its job, then stops its instance", async () => {
      await start({ renderSeconds: 2 });
      const id = await stack.submit();
      await untilRendering();
      await stack.client.workflow.getHandle((await stack.view(id)).gpu!.id).cancel();
      assert.equal((await stack.untilState(id, "success")).attempts, 1);
      await eventually("the instance is stopped", () => stack.simulator.instances()[0]?.why === "stopped" || undefined);
    });

    it("a pool: the next census brings it back", async () => {
      await start({ renderSeconds: 1, gpu: { pools: { "media:fast": { max: 1 } } } });
      const jobs = [await stack.submit({ text: "One." }), await stack.submit({ text: "Two." })];
      await untilRendering();
      await stack.client.workflow.getHandle(ids.pool("media:fast")).cancel();
      for (const id of jobs) await stack.untilState(id, "success");
    });
  });
});
