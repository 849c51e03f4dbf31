import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, DefaultLogger } from "@temporalio/worker";
import type { Config } from "../../src/config/index.ts";
import { ids } from "../../src/contracts/names.ts";
import { createMetrics } from "../../src/process/metrics.ts";
import { createClient } from "../../src/sdk/index.ts";
import { buildIdOf } from "../../src/workers/deployment.ts";
import { type RunningWorker, startWorker } from "../../src/workers/worker.ts";
import { bundleWorkflows, type WorkflowBundle } from "../../src/workers/workers.ts";
import { type } from "../cli/support.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

type Client = ReturnType<typeof createClient>;

const withoutVersioning = (config: Config): Config => ({
  ...config,
  temporal: { ...config.temporal, workerVersioning: false },
});

const POOL = ids.pool("media:fast");

describe("a new version of the workers, whose jobs begin otherwise", function () {
  this.timeout(120_000);
  let stack: TestStack;
  let present: WorkflowBundle;
  let changed: WorkflowBundle;
  const workers = new Map<WorkflowBundle, RunningWorker>();
  const metrics = createMetrics();

  const start = async (bundle: WorkflowBundle, config = stack.config) => {
    workers.set(bundle, await startWorker(config, bundle, process.env, metrics));
  };
  const stop = async (bundle: WorkflowBundle) => {
    await workers.get(bundle)?.stop();
    workers.delete(bundle);
  };
  /** A version cannot be made current before its workers poll all task queues. */
  const untilCurrent = (api: Client, bundle: WorkflowBundle) =>
    eventually("it polls all task queues", () =>
      api.makeCurrent(buildIdOf(bundle)).then(
        () => true,
        () => false,
      ),
    );
  let problems: string[] = [];
  const untilReadyz = (what: string, isIt: () => boolean) =>
    eventually(
      () => `${what}, and not ${problems.join("; ")}`,
      async () => {
        problems = ((await stack.get("/readyz")).body.missing ?? []) as string[];
        return isIt();
      },
    );
  const untilReady = () => untilReadyz("all is well", () => problems.length === 0);
  const untilSaid = (words: RegExp) => untilReadyz(`${words}`, () => problems.some((problem) => words.test(problem)));
  const submitAll = (count: number) =>
    Promise.all(Array.from({ length: count }, (_, n) => stack.submit({ text: `Job ${n}.` })));
  const untilRendering = (jobs: string[]) =>
    eventually("all render", () => stack.simulator.renders().length >= jobs.length);
  const versionOf = async (workflowId: string) => {
    const { raw } = await stack.client.workflow.getHandle(workflowId).describe();
    return raw.workflowExecutionInfo?.versioningInfo?.deploymentVersion?.buildId;
  };
  async function failedTasks(): Promise<number> {
    const { values } = (await metrics.registry.getSingleMetric("c3_render_workflow_task_failures_total")?.get()) ?? {
      values: [],
    };
    return values.reduce((sum, { value }) => sum + value, 0);
  }

  before("bundle both", async () => {
    present = await bundleWorkflows();
    const workflowsPath = fileURLToPath(new URL("../histories/changedWorkflows.ts", import.meta.url));
    changed = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger("ERROR") });
  });
  afterEach(async () => {
    try {
      await stack.close();
    } finally {
      for (const bundle of [...workers.keys()]) await stop(bundle);
    }
  });

  it("with versioning: each job stays with the version that it began on, and pools and managers move", async () => {
    const gpu = { pools: { "media:fast": { max: 6 } } };
    stack = await startTestStack({ withoutWorker: true, renderSeconds: 4, gpu, env: { WORKER_VERSIONING: "true" } });
    const api = createClient({ baseUrl: stack.apiUrl });
    const [first, second] = [buildIdOf(present), buildIdOf(changed)];
    const failedBefore = await failedTasks();
    await start(present);
    await untilSaid(/no version of the workers is current/);
    await eventually("it is announced", async () => (await api.versions()).versions.some(({ id }) => id === first));
    await untilCurrent(api, present);
    await untilReady();
    const old = await submitAll(4);
    await untilRendering(old);

    await start(changed);
    await untilCurrent(api, changed);
    const fresh = await submitAll(2);
    for (const id of [...old, ...fresh]) {
      await stack.untilState(id, "success");
      await stack.untilClosed(id);
    }
    for (const id of old) assert.equal(await versionOf(ids.job(id)), first);
    for (const id of fresh) assert.equal(await versionOf(ids.job(id)), second);
    assert.equal(await versionOf(POOL), second);
    assert.equal(await versionOf((await stack.view(fresh[0] ?? "")).gpu?.id ?? ""), second);
    assert.equal(stack.simulator.renders().length, 6, "a job was rendered twice");
    assert.equal(await failedTasks(), failedBefore, "a workflow task failed");
    const { current, versions } = await api.versions();
    assert.equal(current, second);
    assert.ok(["draining", "drained"].includes(versions.find(({ id }) => id === first)?.status ?? ""));

    const { stdout } = await type(api, ["versions", "--roll-back"]);
    assert.match(stdout, new RegExp(`${first} +current `));
    const [back = ""] = await submitAll(1);
    await stack.untilState(back, "success");
    assert.equal(await versionOf(ids.job(back)), first);
    await assert.rejects(api.makeCurrent("0.0.0-none"), /No worker has announced this version/);

    // And out of it: what is new goes to workers without a version.
    assert.match((await type(api, ["versions", "--make-current", "none"])).stdout, /draining|drained|inactive/);
    assert.equal((await api.versions()).current, null);
    await stop(present);
    await start(present, withoutVersioning(stack.config));
    const [last = ""] = await submitAll(1);
    await stack.untilState(last, "success");
    assert.equal(await versionOf(ids.job(last)), undefined);
  });

  it("with versioning, where there was none: pools that are open move to each version that becomes current", async () => {
    stack = await startTestStack({ withoutWorker: true, env: { WORKER_VERSIONING: "true" } });
    const api = createClient({ baseUrl: stack.apiUrl });
    await start(present, withoutVersioning(stack.config));
    const renderOne = async () => {
      const [id = ""] = await submitAll(1);
      await stack.untilState(id, "success");
    };
    await renderOne();
    await stop(present);
    for (const bundle of [present, changed]) {
      await start(bundle);
      await untilCurrent(api, bundle);
      await renderOne();
      assert.equal(await versionOf(POOL), buildIdOf(bundle));
    }
  });

  it("without versioning: it is seen that jobs stand still, and they go on with the version before", async () => {
    stack = await startTestStack({ withoutWorker: true });
    await start(present);
    await untilReady();
    const pause = async (paused: boolean) => {
      const init = {
        method: "PATCH",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ paused }),
      };
      assert.equal((await fetch(`${stack.apiUrl}/pools/media:fast`, init)).status, 200);
    };
    await pause(true);
    const [id = ""] = await submitAll(1);
    await eventually("it waits", async () => (await stack.view(id)).stage === "waiting");
    const failedBefore = await failedTasks();
    await start(changed);
    await stop(present);
    await pause(false);
    await eventually("a workflow task fails", async () => (await failedTasks()) > failedBefore);
    await untilSaid(/jobs stand still/);
    await stop(changed);
    await start(present);
    await stack.untilState(id, "success");
    await untilReady();
  });
});
