import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ids, taskQueues } from "../../src/contracts/names.ts";
import { startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";
import { type History, writeHistory } from "./store.ts";

const TYPE = "media:fast";
const POOL = ids.pool(TYPE);
/** A text that the model says in two parts. */
const LONG = { text: "A first sentence. And a second one.", max_audio_length: 1500 };

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/**
 * Records a history of every way that workflows go, on a real server, into a folder named by the version of the package
 * (`npm run histories`). Before a release, and before a change of workflow code: from then on the change must replay them.
 */
describe(`histories of version ${version}`, function () {
  this.timeout(120_000);
  let stack: TestStack;
  /** Accepts requests, and never answers. */
  const silent = createServer(() => {});
  const silence = () => `http://127.0.0.1:${(silent.address() as AddressInfo).port}/voice.wav`;

  before(async () => {
    await once(silent.listen(0, "127.0.0.1"), "listening");
  });
  after(async () => {
    silent.closeAllConnections();
    await once(silent.close(), "close");
  });

  const start = async (options: TestStackOptions = {}) => {
    stack = await startTestStack({
      ...options,
      env: { TRUSTED_ORIGINS: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`, ...options.env },
      gpu: { pools: { [TYPE]: { max: 1 } }, cancelSettleMs: 300, ...options.gpu },
    });
  };
  const workflow = (workflowId: string, runId?: string) => stack.client.workflow.getHandle(workflowId, runId);
  const historyOf = async (workflowId: string, runId?: string): Promise<History> =>
    await workflow(workflowId, runId).fetchHistory();
  const record = async (name: string, workflowId: string, runId?: string) =>
    writeHistory(version, name, await historyOf(workflowId, runId));
  const untilClosed = (workflowId: string) =>
    eventually(
      `${workflowId} is closed`,
      async () => (await workflow(workflowId).describe()).status.name !== "RUNNING",
    );
  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;
  const hook = (query = "") => `${stack.simulator.url}/sim/hooks/recorded${query}`;
  const renders = () => stack.simulator.renders();
  const post = async (path: string, body: object): Promise<string> => {
    const answer = await stack.post(path, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return (answer.body.id ?? answer.body.job_id) as string;
  };
  const untilStage = (id: string, stage: string) =>
    eventually(`${id} is ${stage}`, async () => (await stack.view(id)).stage === stage);
  const gpuOf = async (id: string) => (await stack.view(id)).gpu ?? assert.fail("it has no GPU");
  const whisperOf = (audio_url: string) => ({
    type: "whisper" as const,
    input: { audioUrl: audio_url, options: {} } as never,
    gpuType: TYPE,
  });

  /** The result cannot be stored while `meanwhile` goes on. */
  async function withoutStore(meanwhile: () => Promise<void>): Promise<void> {
    assert.ok(stack.config.storage.kind === "filesystem");
    const results = join(stack.config.storage.dir, "results");
    await rename(results, `${results}-kept`);
    await writeFile(results, "no folder");
    await meanwhile();
    await rm(results);
    await rename(`${results}-kept`, results);
  }

  describe("a job that succeeds", () => {
    before(() => start({ gpu: { pools: { [TYPE]: { max: 1 }, "ollama_webui:fast": { max: 1 } } } }));
    afterEach(() => stack.simulator.clearFaults());
    after(() => stack.close());

    const jobs: Record<string, () => Promise<string>> = {
      csm: () => stack.submit({ text: "To be kept.", metadata: { order: 7 } }),
      "csm-in-parts": () => stack.submit(LONG),
      "csm-cloned": () =>
        stack.submit({ text: "Hi.", voice: "clone", reference_audio_url: sample("voice.wav"), reference_text: "x" }),
      "csm-with-webhook": () => stack.submit({ text: "Hi.", notify_url: hook() }),
      whisper: () => post("/whisper", { audio_url: sample("voice.wav") }),
      "portrait-of-sound": () =>
        post("/portrait", { image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") }),
      "portrait-of-text": () => post("/portrait", { image_url: sample("portrait.jpg"), text: "Said once." }),
      analyze: () => post("/analyze", { image_url: sample("portrait.jpg") }),
      "lipsync-of-picture": () => post("/jobs", { image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") }),
      "lipsync-of-video": () => post("/jobs", { video_url: sample("clip.mp4"), audio_url: sample("voice.wav") }),
    };
    for (const [name, submit] of Object.entries(jobs)) {
      it(name, async () => {
        const id = await submit();
        await stack.untilState(id, "success");
        await stack.untilClosed(id);
        await record(`renderJob-success-${name}`, ids.job(id));
      });
    }

    it("after a run that failed in transport", async () => {
      stack.simulator.fault({ service: "csm", action: "end_stream_early", times: 1 });
      const id = await stack.submit();
      await stack.untilState(id, "success");
      await stack.untilClosed(id);
      await record("renderJob-success-second-run", ids.job(id));
    });

    it("after an upload that failed", async () => {
      stack.simulator.settings.renderSeconds = 1;
      const id = await stack.submit();
      await untilStage(id, "rendering");
      await withoutStore(async () => {
        await untilStage(id, "uploading");
      });
      stack.simulator.settings.renderSeconds = 0;
      await stack.untilState(id, "success");
      await stack.untilClosed(id);
      await record("renderJob-success-second-upload", ids.job(id));
    });
  });

  describe("a job that ends otherwise", () => {
    before(() => start({ env: { MODAL_CONTRACT: "c3-render" } }));
    afterEach(() => {
      stack.simulator.clearFaults();
      stack.simulator.settings.renderSeconds = undefined;
    });
    after(() => stack.close());

    const cancel = async (id: string) => {
      assert.equal((await stack.post(`/job/${id}`, { status: "cancelled" })).status, 200);
    };
    const recordJob = async (name: string, id: string) => {
      await stack.untilClosed(id);
      await record(`renderJob-${name}`, ids.job(id));
    };
    const failedJobs: Record<string, () => Promise<string>> = {
      "input-refused": () => post("/whisper", { audio_url: sample("portrait.jpg") }),
      "model-failed": async () => {
        stack.simulator.fault({ service: "csm", action: "render_error", times: 1 });
        return await stack.submit({ text: "Hi.", notify_url: hook() });
      },
      "node-refused-key": async () => {
        stack.simulator.fault({ service: "csm", action: "status", path: "/config", status: 401, times: 1 });
        return await stack.submit();
      },
      "lipsync-failed": async () => {
        stack.simulator.fault({ service: "modal", action: "render_error", times: 1 });
        return await post("/jobs", { image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") });
      },
    };
    for (const [name, submit] of Object.entries(failedJobs)) {
      it(name, async () => {
        const id = await submit();
        await stack.untilState(id, "failed");
        await recordJob(`failed-${name}`, id);
      });
    }

    /** Has the only GPU until it is cancelled. */
    async function holder(): Promise<string> {
      stack.simulator.settings.renderSeconds = 60;
      const id = await stack.submit({ text: "Has the GPU." });
      await untilStage(id, "rendering");
      return id;
    }

    /** A job that stays in each stage. @returns what ends the stay, besides */
    const stages: Record<string, (overrides: object) => Promise<{ id: string; release: () => Promise<void> }>> = {
      downloading: async (overrides) => ({
        id: await stack.start({ ...whisperOf(silence()), ...overrides }),
        release: async () => {},
      }),
      waiting: async (overrides) => {
        const first = await holder();
        const id = await stack.start(overrides);
        return { id, release: async () => void (await cancel(first)) };
      },
      rendering: async (overrides) => {
        stack.simulator.settings.renderSeconds = 4;
        return { id: await stack.start(overrides), release: async () => {} };
      },
    };
    for (const [stage, begin] of Object.entries(stages)) {
      it(`cancelled while ${stage}`, async () => {
        const { id, release } = await begin({ notifyUrl: hook() });
        await untilStage(id, stage);
        await cancel(id);
        await recordJob(`cancelled-${stage}`, id);
        await release();
      });

      it(`past its deadline while ${stage}`, async () => {
        const { id, release } = await begin({ completeBy: Date.now() + 2500, notifyUrl: hook() });
        await stack.untilState(id, "failed");
        await recordJob(`deadline-${stage}`, id);
        await release();
      });
    }

    it("past max_time while rendering", async () => {
      stack.simulator.settings.renderSeconds = 4;
      const id = await stack.start({ maxTimeSeconds: 1 });
      await stack.untilState(id, "failed");
      await recordJob("max-time-rendering", id);
    });

    for (const how of ["cancelled", "deadline"]) {
      it(`${how} while uploading`, async () => {
        stack.simulator.settings.renderSeconds = 0.5;
        await stack.untilState(await stack.submit(), "success");
        await withoutStore(async () => {
          const id = await stack.start({ ...(how === "deadline" && { completeBy: Date.now() + 4000 }) });
          await untilStage(id, "uploading");
          if (how === "cancelled") await cancel(id);
          await recordJob(`${how}-uploading`, id);
        });
      });
    }

    it("cancelled in Temporal", async () => {
      stack.simulator.settings.renderSeconds = 4;
      const id = await stack.submit();
      await untilStage(id, "rendering");
      await workflow(ids.job(id)).cancel();
      await recordJob("cancelled-in-temporal", id);
    });

    it("marked as timed out by its client", async () => {
      stack.simulator.settings.renderSeconds = 4;
      const id = await stack.submit();
      await untilStage(id, "rendering");
      await stack.post(`/job/${id}`, { status: "timed_out", error: "the client gave up" });
      await recordJob("timed-out-by-client", id);
    });

    it("removed while rendering", async () => {
      stack.simulator.settings.renderSeconds = 2;
      const id = await stack.submit({ text: "To be removed.", notify_url: hook() });
      await untilStage(id, "rendering");
      await fetch(`${stack.apiUrl}/jobs/${id}`, { method: "DELETE" });
      // It is gone soon after it has ended: the last that was seen of it is kept.
      let seen: History = {};
      await eventually("it is removed", async () => {
        try {
          seen = await historyOf(ids.job(id));
          return false;
        } catch {
          return true;
        }
      });
      writeHistory(version, "renderJob-removed", seen);
      await untilClosed(ids.removal(id));
      await record("removeJob", ids.removal(id));
    });
  });

  describe("GPUs", () => {
    afterEach(() => stack.close());

    it("stopped when it was idle for long", async () => {
      await start({ gpu: { idleTimeoutMs: 300 } });
      const id = await stack.submit();
      await stack.untilState(id, "success");
      const { id: gpu } = await gpuOf(id);
      await untilClosed(gpu);
      await record("gpuManager-idle", gpu);
      await record("gpuPool-of-one-job", POOL);
    });

    it("drained while it is leased", async () => {
      await start({ renderSeconds: 1 });
      const id = await stack.submit();
      await untilStage(id, "rendering");
      const { id: gpu } = await gpuOf(id);
      assert.equal((await stack.post(`/gpus/${gpu}/drain`, {})).status, 200);
      await untilClosed(gpu);
      await record("gpuManager-drained", gpu);
    });

    it("drained at once, and its job renders on another one", async () => {
      await start({ renderSeconds: 2 });
      const id = await stack.submit();
      await untilStage(id, "rendering");
      const { id: gpu } = await gpuOf(id);
      assert.equal((await stack.post(`/gpus/${gpu}/drain`, { now: true })).status, 200);
      await stack.untilState(id, "success");
      await stack.untilClosed(id);
      await untilClosed(gpu);
      await record("gpuManager-drained-now", gpu);
      await record("renderJob-success-after-drain", ids.job(id));
    });

    for (const action of ["kill_node", "vanish"] as const) {
      it(`lost while it is leased: ${action}`, async () => {
        await start({ renderSeconds: 4 });
        const id = await stack.submit();
        const render = await eventually("it renders", () => renders()[0]);
        const { id: gpu } = await gpuOf(id);
        stack.simulator.settings.renderSeconds = 0.1;
        stack.simulator.fault({ service: "node", action, node: render.node });
        await stack.untilState(id, "success");
        await stack.untilClosed(id);
        await untilClosed(gpu);
        await record(`gpuManager-lost-${action}`, gpu);
        await record(`renderJob-success-after-${action}`, ids.job(id));
      });
    }

    it("a job that loses too many", async () => {
      await start({ renderSeconds: 30, gpu: { maxAttempts: 2, pools: { [TYPE]: { max: 2 } } } });
      const id = await stack.submit();
      for (const count of [1, 2]) {
        await eventually(`render ${count}`, () => renders().length === count);
        stack.simulator.fault({ service: "node", action: "vanish", node: renders().at(-1)?.node ?? "" });
      }
      await stack.untilState(id, "failed");
      await stack.untilClosed(id);
      await record("renderJob-failed-gpus-lost", ids.job(id));
      await record("gpuPool-of-lost-gpus", POOL);
    });

    it("launched at the third try", async () => {
      await start();
      stack.simulator.fault({ service: "comput3", action: "status", path: "/launch", status: 500, times: 2 });
      const id = await stack.submit();
      await stack.untilState(id, "success");
      await record("gpuManager-launched-late", (await gpuOf(id)).id);
    });

    it("without a manager", async () => {
      await start({ renderSeconds: 2 });
      const id = await stack.submit();
      const render = await eventually("it renders", () => renders()[0]);
      const { id: gpu } = await gpuOf(id);
      await workflow(gpu).terminate();
      await stack.untilState(id, "success");
      const workload = stack.simulator.instances().find(({ node }) => node === render.node)?.workload ?? "";
      await eventually("the orphan is retired", async () => (await untilClosed(ids.retirement(workload))) || true);
      await record("retireInstance", ids.retirement(workload));
      await record("reconcileGpus", ids.reconciler);
    });

    it("resized, paused and full of waiting jobs", async () => {
      await start({ gpu: { pools: { [TYPE]: { max: 2 } } } });
      const resize = async (change: object) => {
        const headers = { "Content-Type": "application/json" };
        const init = { method: "PATCH", headers, body: JSON.stringify(change) };
        assert.ok((await fetch(`${stack.apiUrl}/pools/${TYPE}`, init)).ok);
      };
      await resize({ min: 1, max: 3 });
      await eventually("one is warm", () => stack.simulator.instances().length === 1);
      await resize({ paused: true });
      const jobs = await Promise.all(Array.from({ length: 5 }, (_, n) => stack.submit({ text: `Job ${n}.` })));
      await untilStage(jobs[4] ?? "", "waiting");
      await resize({ paused: false, min: 0 });
      for (const id of jobs) await stack.untilState(id, "success");
      await record("gpuPool-resized", POOL);
    });
  });

  describe("workflows that continue as new", () => {
    let server: TemporalServer;
    before(async () => {
      server = await startTemporalServer({
        executable: await temporalExecutable(),
        port: 0,
        dynamicConfig: { "limit.historyCount.suggestContinueAsNew": 50 },
        say: () => {},
      });
      await start({ temporalAddress: server.address, gpu: { reconcileIntervalMs: 200 } });
    });
    after(async () => {
      await stack.close();
      await server.stop();
    });

    it("pool, manager and reconciler", async () => {
      const jobs = await Promise.all(Array.from({ length: 20 }, () => stack.submit({ text: "Again." })));
      for (const id of jobs) await stack.untilState(id, "success");
      const wanted: [string, (workflowId: string) => boolean][] = [
        ["gpuPool", (workflowId) => workflowId === POOL],
        ["gpuManager", (workflowId) => /^gpu-(?!pool|end)/.test(workflowId)],
        ["reconcileGpus", (workflowId) => workflowId === ids.reconciler],
      ];
      for (const [type, isWanted] of wanted) {
        const runs = await eventually(`${type} continued twice`, async () => {
          const found: { workflowId: string; runId: string }[] = [];
          for await (const run of stack.client.workflow.list({ query: "ExecutionStatus = 'ContinuedAsNew'" })) {
            if (isWanted(run.workflowId)) found.unshift(run);
          }
          return found.length > 1 ? found : undefined;
        });
        const [first, second] = runs;
        await record(`${type}-continued`, first?.workflowId ?? "", first?.runId);
        await record(`${type}-continued-again`, second?.workflowId ?? "", second?.runId);
      }
    });
  });

  describe("webhooks", () => {
    before(() => start({ webhook: { retryDelaysMs: [50, 50] } }));
    after(() => stack.close());

    const told = async (query: string) => {
      const id = await stack.submit({ text: "Hi.", notify_url: hook(query) });
      await stack.untilClosed(id);
      await untilClosed(ids.webhook(id));
      return ids.webhook(id);
    };

    it("delivered, at once and at the third attempt", async () => {
      await record("deliverWebhook-delivered", await told(""));
      await record("deliverWebhook-retried", await told("?fail=2"));
    });

    it("given up, and sent again by an operator", async () => {
      const since = new Date().toISOString();
      const workflowId = await told("?fail=3");
      await record("deliverWebhook-given-up", workflowId);
      assert.equal((await stack.post("/deliveries", { since, status: "failed" })).status, 202);
      await workflow(ids.replay).result();
      await eventually(
        "it is delivered",
        async () => (await workflow(workflowId).describe()).status.name === "COMPLETED",
      );
      await record("deliverWebhook-sent-again", workflowId);
      await record("replayWebhooks", ids.replay);
    });

    it("the rounds of the Schedules", async () => {
      for (const type of ["removeExpired", "ensureReconciler"]) {
        const workflowId = `recorded-${type}`;
        await stack.client.workflow.execute(type, { workflowId, taskQueue: taskQueues.main });
        await record(type, workflowId);
      }
    });
  });
});
