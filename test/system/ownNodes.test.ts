import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/index.ts";
import { type Stack, startStack } from "../../src/dev/stack.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import { eventually } from "../support/eventually.ts";
import { testLog } from "../support/runtime.ts";
import { testTemporal } from "../support/temporal.ts";

describe("nodes of one's own", () => {
  let simulator: Simulator;
  let folder: string;
  let stack: Stack;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-test-"));
    simulator = await startSimulator({ port: 0, launchSeconds: 0, speed: 0, apiKey: "c3-key-of-the-tests" });
    const there = await rent();
    const config = loadConfig({
      GPU_PROVIDER: "static",
      GPU_NODES: JSON.stringify([
        { name: "dead", type: "media:fast", url: `http://127.0.0.1:${await freePort(0, "nobody", () => {})}` },
        { name: "there", type: "media:fast", url: simulator.nodeUrlTemplate.replace("{node}", there) },
      ]),
      C3_API_KEY: simulator.apiKey,
      PORT: String(await freePort(0, "the API", () => {})),
      TEMPORAL_ADDRESS: (await testTemporal()).address,
      TEMPORAL_NAMESPACE: `test-${randomUUID()}`,
      C3_RENDER_DATA_DIR: folder,
      OUTPUT_DIR: join(folder, "output"),
    });
    const gpu = { ...config.gpu, idleTimeoutMs: 1, watchIntervalMs: 100, checkRetryMs: 50 };
    stack = await startStack({
      config: { ...config, gpu },
      log: testLog(),
      workflowBundle: await bundleWorkflows(),
      env: process.env,
    });
  });

  after(async () => {
    await stack.stop();
    await simulator.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** A node that answers, by name; nobody but the test has rented it. */
  async function rent(): Promise<string> {
    const response = await fetch(`${simulator.comput3Url}/launch`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-C3-API-KEY": simulator.apiKey },
      body: JSON.stringify({ type: "media:fast", expires: Math.floor(Date.now() / 1000) + 3600 }),
    });
    assert.equal(response.status, 200, await response.clone().text());
    return await eventually("the node runs", () => simulator.instances()[0]?.node);
  }

  async function call(path: string, body?: unknown): Promise<Record<string, unknown>> {
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`${stack.apiUrl}${path}`, body === undefined ? {} : init);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Record<string, unknown>;
  }

  const ended = (id: string) =>
    eventually("the job ends", async () => {
      const { status } = await call(`/status/${id}`);
      return status === "success" || status === "failed" ? status : undefined;
    });

  const gpus = async () => (await call("/gpus")).gpus as { node?: string; state: string }[];

  it("are used without a launch or a stop; one that is dead is benched, and its jobs run on another one", async () => {
    const { id } = await call("/csm", { text: "On a node of our own." });
    assert.equal(await ended(String(id)), "success");
    const document = await call(`/jobs/${id}`);
    assert.equal((document.gpu as { node: string }).node, "there");
    const calls = simulator.calls().filter(({ path }) => /launch|stop/.test(path));
    assert.equal(calls.length, 1, "only the test's own launch");
  });

  it("are kept when they are idle, and free of charge", async () => {
    const { id } = await call("/csm", { text: "On the same node." });
    assert.equal(await ended(String(id)), "success");
    const document = await call(`/jobs/${id}`);
    assert.equal((document.cost as { amount?: number }).amount, undefined);
    assert.deepEqual(
      (await gpus()).filter(({ node }) => node === "there").map(({ state }) => state),
      ["idle"],
    );
  });

  it("are watched: a job whose node dies waits for another one, and is told that there is none", async () => {
    simulator.settings.renderSeconds = 30;
    const { id } = await call("/csm", { text: "On a node that dies." });
    await eventually("the job renders", () => simulator.renders().find(({ finishedAt }) => finishedAt === undefined));
    simulator.fault({ service: "comput3", action: "kill_node" });
    await eventually("its node was given up", async () => {
      const status = await call(`/status/${id}`);
      return status.waiting_for === "provider_unavailable" ? status : undefined;
    });
    assert.deepEqual(await gpus(), []);
  });
});
