import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { status } from "@grpc/grpc-js";
import type { Client } from "@temporalio/client";
import { bundleWorkflowCode, NativeConnection, Worker } from "@temporalio/worker";
import { createReadiness } from "../../../src/api/service/readiness.ts";
import { loadConfig } from "../../../src/config/index.ts";
import { ids } from "../../../src/contracts/names.ts";
import { createLogger } from "../../../src/process/log.ts";
import type { ObjectStore } from "../../../src/storage/objectStore.ts";
import { onTaskFailure, runSinks, type TaskFailure } from "../../../src/workers/taskFailures.ts";
import { eventually } from "../../support/eventually.ts";
import { testLog } from "../../support/runtime.ts";
import { connectTestClient } from "../support.ts";

const HOUR_MS = 3_600_000;
const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };
const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

describe("what is not ready", () => {
  let client: Client;
  let connection: NativeConnection;
  const store = { ensureReady: async () => {} } as ObjectStore;

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    connection = await NativeConnection.connect({ address: temporal.address });
  });
  after(async () => {
    await connection.close();
    await client.connection.close();
  });

  const look = (now = Date.now) =>
    createReadiness({ config: loadConfig({}), client, store, log: createLogger("silent") }, now)();

  for (const [what, offsetMs, told] of [
    ["an hour ahead", HOUR_MS, /^this machine's clock is (3599|3600) s ahead of the one of Temporal/],
    ["an hour behind", -HOUR_MS, /^this machine's clock is (3599|3600) s behind the one of Temporal/],
    ["a day ahead", 24 * HOUR_MS, /^this machine's clock is 86[34]\d\d s ahead/],
    ["a minute behind", -60_000, /^this machine's clock is [56]\d s behind/],
  ] as const) {
    it(`is a clock that is ${what}`, async () => {
      const missing = await look(() => Date.now() + offsetMs);
      assert.ok(
        missing.some((sentence) => told.test(sentence)),
        missing.join("; "),
      );
    });
  }

  it("is no clock that is right", async () => {
    const missing = await look();
    assert.ok(!missing.some((sentence) => /clock/.test(sentence)), missing.join("; "));
  });

  describe("when workers have versions", () => {
    const poller = (buildId?: string) => ({
      lastAccessTime: { seconds: Date.now() / 1000 },
      deploymentOptions: { buildId: buildId ?? "build", workerVersioningMode: buildId === undefined ? 1 : 2 },
    });
    const version = (buildId: string, status: number) => ({ deploymentVersion: { buildId }, status });
    const [DRAINING, DRAINED] = [4, 5];

    /** Temporal, which knows of these pollers and versions. */
    function lookAt(
      pollers: (string | undefined)[],
      current?: string,
      versions: object[] | "refused" = [],
    ): Promise<string[]> {
      const workerDeploymentInfo = {
        routingConfig: { currentDeploymentVersion: current === undefined ? null : { buildId: current } },
        versionSummaries: versions,
      };
      const real = client.workflowService;
      const answers: Partial<Record<string | symbol, unknown>> = {
        describeTaskQueue: (request: Parameters<typeof real.describeTaskQueue>[0]) =>
          request.taskQueue?.name?.endsWith("clock")
            ? real.describeTaskQueue(request)
            : Promise.resolve({ pollers: pollers.map(poller) }),
        describeWorkerDeployment: async () => {
          if (versions !== "refused") return { workerDeploymentInfo, conflictToken: new Uint8Array() };
          throw Object.assign(new Error("disabled"), { code: status.FAILED_PRECONDITION, details: "", metadata: {} });
        },
      };
      const workflowService = new Proxy(real, {
        get: (service, name) => {
          const found = answers[name] ?? Reflect.get(service, name);
          return typeof found === "function" ? found.bind(service) : found;
        },
      });
      const standIn = new Proxy(client, {
        get: (real, name) => (name === "workflowService" ? workflowService : Reflect.get(real, name)),
      });
      return createReadiness({ config: loadConfig({}), client: standIn, store, log: createLogger("silent") })();
    }

    const cases: [what: string, asked: Parameters<typeof lookAt>, said: RegExp | undefined][] = [
      ["workers without one, and none is current", [[undefined]], undefined],
      ["workers of the current one", [["b"], "b"], undefined],
      ["workers of the current one and of another", [["a", "b"], "b"], undefined],
      ["workers with one, and none is current", [["a"]], /no version of the workers is current/],
      ["workers without one, and one is current", [[undefined], "b"], /no worker of the current version b polls/],
      ["workers of another one only", [["a"], "b"], /no worker of the current version b polls/],
      ["jobs of an older one, and its workers", [["a", "b"], "b", [version("a", DRAINING)]], undefined],
      [
        "jobs of an older one, whose workers are gone",
        [["b"], "b", [version("a", DRAINING)]],
        /on version a stand still/,
      ],
      ["an older one that is drained", [["b"], "b", [version("a", DRAINED)]], undefined],
    ];
    it("are not known, as of a server that has none: all is well", async () => {
      assert.deepEqual(await lookAt([undefined], undefined, "refused"), []);
    });

    for (const [what, asked, said] of cases) {
      it(`${what}: ${said === undefined ? "all is well" : "it says so"}`, async () => {
        const missing = await lookAt(...asked);
        if (said === undefined) assert.deepEqual(missing, []);
        else assert.ok(missing.length > 0);
        for (const sentence of missing) assert.match(sentence, said ?? /nothing/);
      });
    }
  });

  describe("when the code of workflows does not fit", () => {
    const failures: TaskFailure[] = [];
    let stopHearing: () => void;
    before(() => {
      stopHearing = onTaskFailure((failure) => failures.push(failure));
    });
    after(() => stopHearing());
    beforeEach(() => failures.splice(0));

    /** Does `work` while a worker runs with the workflows of that file. */
    async function withWorkflows(file: string, work: () => Promise<void>): Promise<void> {
      const workflowBundle = await bundleWorkflowCode({
        workflowsPath: path(file),
        workflowInterceptorModules: [path("../../../src/workflows/interceptors.ts")],
        logger: quiet,
      });
      const { namespace } = client.options;
      const worker = await Worker.create({
        connection,
        namespace,
        taskQueue: "broken",
        workflowBundle,
        sinks: runSinks,
      });
      await worker.runUntil(work);
    }
    const failureOf = (workflowId: string) =>
      eventually(`the task of ${workflowId} fails`, () =>
        failures.find((failure) => failure.workflowId === workflowId),
      );

    it("is a pool or the reconciler whose tasks fail, which are told with id and type", async () => {
      const options = { taskQueue: "broken", workflowTaskTimeout: "1s" };
      await withWorkflows("./brokenWorkflows.ts", async () => {
        await client.workflow.start("mistaken", { ...options, workflowId: ids.reconciler });
        const { workflowType, error } = await failureOf(ids.reconciler);
        assert.deepEqual([workflowType, error], ["mistaken", "a mistake of ours"]);
        await eventually("it was tried often enough", async () => {
          const { raw } = await client.workflow.getHandle(ids.reconciler).describe();
          return (raw.pendingWorkflowTask?.attempt ?? 0) >= 3 || undefined;
        });
      });
      assert.ok((await look()).includes(`the workflow ${ids.reconciler} fails again and again`));
      await client.workflow.getHandle(ids.reconciler).terminate();
      assert.ok(!(await look()).some((sentence) => /again and again/.test(sentence)));
    });

    it("is told, too, of a workflow that began with other code", async () => {
      const options = { taskQueue: "broken", workflowId: "changed" };
      await withWorkflows("./brokenWorkflows.ts", async () => {
        const handle = await client.workflow.start("changed", options);
        await eventually("it waits", async () => ((await handle.describe()).historyLength > 3 ? true : undefined));
      });
      await withWorkflows("./changedWorkflows.ts", async () => {
        await client.workflow.getHandle("changed").signal("anything");
        const { workflowType, error } = await failureOf("changed");
        assert.equal(workflowType, "changed");
        assert.match(error, /Nondeterminism error/);
      });
      await client.workflow.getHandle("changed").terminate();
    });
  });
});
