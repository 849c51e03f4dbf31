import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Worker } from "@temporalio/worker";
import { ids } from "../../src/contracts/names.ts";
import { poolStatus, requestLease, resizePool, withdrawLease } from "../../src/contracts/signals.ts";
import { startTemporalServer } from "../../src/dev/temporalServer.ts";
import type { PoolReport } from "../../src/gpus/types.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { readJson } from "../../src/storage/jsonDocuments.ts";
import { keys } from "../../src/storage/keys.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const POOL = ids.pool("media:fast");

describe("long-lived workflows", () => {
  it("lose no lease when pool and managers continue as new under load", async function () {
    this.timeout(120_000);
    const server = await startTemporalServer({
      executable: await temporalExecutable(),
      port: 0,
      dynamicConfig: { "limit.historyCount.suggestContinueAsNew": 50 },
      say: () => {},
    });
    try {
      const gpu = { pools: { "media:fast": { max: 3 } } };
      const stack = await startTestStack({ temporalAddress: server.address, gpu });
      const jobs = await Promise.all(Array.from({ length: 60 }, () => stack.submit({ text: "Again." })));
      for (const id of jobs) assert.equal((await stack.untilState(id, "success")).attempts, 1);
      assert.equal(stack.simulator.renders().length, 60);
      const continued = await continuedWorkflows(stack);
      assert.ok(continued.has(POOL), "the pool continued as new");
      assert.ok(
        [...continued].some((id) => id.startsWith("gpu-media")),
        "a manager continued as new",
      );
      await stack.close();
    } finally {
      await server.stop();
    }
  });

  it("handle 500 signals within a second, and their histories replay", async () => {
    // None of the jobs is there, which a census in between would notice.
    const stack = await startTestStack({ gpu: { reconcileIntervalMs: 600_000 } });
    await stack.untilState(await stack.submit(), "success");
    const pool = stack.client.workflow.getHandle(POOL);
    await pool.signal(resizePool, { paused: true });
    const wishes = Array.from({ length: 500 }, () => ({
      jobId: randomUUID(),
      attempt: 1,
      tenant: "default",
      priority: "normal" as const,
      completeBy: Date.now() + 3_600_000,
      kind: "csm",
      expectedSeconds: 5,
    }));
    await Promise.all(wishes.map((wish) => pool.signal(requestLease, wish)));
    const queue = await eventually("all are queued", async () => {
      const status = await pool.query(poolStatus);
      return status.queue.length === wishes.length ? status.queue : undefined;
    });
    assert.deepEqual(new Set(queue.map(({ jobId }) => jobId)), new Set(wishes.map((wish) => wish.jobId)));
    const store = createObjectStore(stack.config.storage, "");
    const report = async () => (await readJson(store, keys.poolReport("media:fast"))) as PoolReport;
    await eventually("everybody can read so", async () => (await report()).status.queue.length === wishes.length);
    assert.deepEqual((await report()).waiting, [["default", wishes.length]]);
    await Promise.all(wishes.map(({ jobId }) => pool.signal(withdrawLease, { jobId })));
    await eventually("all are withdrawn", async () => (await pool.query(poolStatus)).queue.length === 0);
    await eventually("everybody can read so", async () => (await report()).status.queue.length === 0);
    await replayAll(stack);
    await stack.close();
  });
});

async function continuedWorkflows({ client }: TestStack): Promise<Set<string>> {
  const found = new Set<string>();
  const query = "ExecutionStatus = 'ContinuedAsNew'";
  for await (const { workflowId } of client.workflow.list({ query })) found.add(workflowId);
  return found;
}

/** Every history of the namespace, run again by the same code, must make the same decisions. */
async function replayAll({ client }: TestStack): Promise<void> {
  const types = new Set<string>();
  const histories = client.workflow.list().intoHistories();
  for await (const { error, workflowId } of Worker.runReplayHistories(
    { workflowBundle: await bundleWorkflows() },
    histories,
  )) {
    assert.equal(error, undefined, `${workflowId}: ${error?.message}`);
    types.add(workflowId.replace(/[-:].*/, ""));
  }
  assert.ok(types.has("gpu") && types.has("job") && types.has("reconcile"), [...types].join(", "));
}
