import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Client } from "@temporalio/client";
import { bundleWorkflowCode, NativeConnection } from "@temporalio/worker";
import { loadConfig } from "../../src/config/index.ts";
import { createMetrics } from "../../src/process/metrics.ts";
import { taskQueues } from "../../src/temporal/connection.ts";
import { type RunningWorkers, startWorkers, type WorkersOptions } from "../../src/workers/workers.ts";
import { connectTestClient } from "../api/support.ts";
import { testLog } from "../support/runtime.ts";
import { type longStep, turn } from "./longStep.ts";

/** The SDK breaks off what takes longer than 5 s, unless it is told otherwise. */
const STEP_MS = 7000;
const MEASURED_TURNS = 20_000_000;

describe("the workers of a process", () => {
  let client: Client;
  let connection: NativeConnection;
  let workers: RunningWorkers | undefined;

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    connection = await NativeConnection.connect({ address: temporal.address });
    const { namespace } = client.options;
    const config = loadConfig({ TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: namespace });
    const workflowsPath = fileURLToPath(new URL("./longStep.ts", import.meta.url));
    const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };
    const workflowBundle = await bundleWorkflowCode({ workflowsPath, logger: quiet });
    // A worker of a queue without workflows needs an activity.
    const activities = { nothing: async () => {} } as unknown as WorkersOptions["activities"];
    const sinks = { poolReports: { publish: { fn() {} } } };
    workers = await startWorkers({ config, connection, activities, workflowBundle, sinks, metrics: createMetrics() });
  });
  after(async () => {
    await workers?.stop();
    await connection.close();
    await client.connection.close();
  });

  it("let a step of a workflow take its time on a busy machine", async function () {
    this.timeout(120_000);
    const startedAt = performance.now();
    turn(MEASURED_TURNS);
    const turns = Math.ceil((MEASURED_TURNS * STEP_MS) / (performance.now() - startedAt));
    const options = { taskQueue: taskQueues.main, workflowId: "long-step", workflowTaskTimeout: "60s" } as const;
    const handle = await client.workflow.start<typeof longStep>("longStep", { ...options, args: [turns] });
    await handle.result();
    const { events } = await handle.fetchHistory();
    const failed = events?.filter(
      (event) => event.workflowTaskFailedEventAttributes || event.workflowTaskTimedOutEventAttributes,
    );
    assert.deepEqual(failed, []);
  });
});
