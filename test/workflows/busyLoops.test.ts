import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Client, Connection } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import type { PoolMessage } from "../../src/activities/messaging/signals.ts";
import { ids } from "../../src/contracts/names.ts";
import { gpuChanged, requestLease } from "../../src/contracts/signals.ts";
import { startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { taskQueues } from "../../src/temporal/connection.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import type { gpuPool } from "../../src/workflows/gpuPool.ts";
import type { reconcileGpus } from "../../src/workflows/reconcileGpus.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import { testLog } from "../support/runtime.ts";

const TYPE = "media:fast";
const SUGGESTED_AT = 60;
/** What comes in while a run is about to end. */
const ROUND = 30;

describe("a long-lived workflow that is never idle continues as new", () => {
  let server: TemporalServer;
  let connection: NativeConnection;
  let client: Client;
  let workflowBundle: Awaited<ReturnType<typeof bundleWorkflows>>;
  before(async () => {
    testLog();
    workflowBundle = await bundleWorkflows();
    server = await startTemporalServer({
      executable: await temporalExecutable(),
      port: 0,
      dynamicConfig: { "limit.historyCount.suggestContinueAsNew": SUGGESTED_AT },
      say: () => {},
    });
    connection = await NativeConnection.connect({ address: server.address });
    client = new Client({ connection: await Connection.connect({ address: server.address }) });
  });
  after(async () => {
    await client.connection.close();
    await connection.close();
    await server.stop();
  });

  async function withWorker<T>(activities: object, run: () => Promise<T>): Promise<T> {
    const worker = await Worker.create({ connection, taskQueue: taskQueues.main, workflowBundle, activities });
    return await worker.runUntil(run());
  }

  /** How long the history of each run is, the first run first. */
  async function lengths(workflowId: string): Promise<number[]> {
    const runs: [startedAt: number, length: number][] = [];
    for await (const run of client.workflow.list({ query: `WorkflowId = '${workflowId}'` }))
      runs.push([run.startTime.getTime(), run.historyLength ?? 0]);
    return runs.sort(([a], [b]) => a - b).map(([, length]) => length);
  }

  async function untilContinued(workflowId: string, times: number): Promise<void> {
    const ended = await eventually(
      "it continued as new",
      async () => {
        const closed = (await lengths(workflowId)).slice(0, -1);
        return closed.length >= times ? closed : undefined;
      },
      20_000,
    );
    for (const length of ended) assert.ok(length <= SUGGESTED_AT + ROUND, `a run had ${length} events`);
  }

  it("the pool, whose GPU is given back and wanted again while it sends messages, and forgets no job", async () => {
    const pool = client.workflow.getHandle(ids.pool(TYPE));
    const wanted = new Set<string>();
    const assigned: string[] = [];
    let sequence = 0;
    const tellIdle = (released?: string) => {
      sequence += 1;
      const now = Date.now();
      const times = { since: now, startedAt: now, expiresAt: now + 7_200_000 };
      const gpu = { gpuId: "gpu-1", type: TYPE, state: "idle" as const, sequence, ...times };
      return pool.signal(gpuChanged, { ...gpu, ...(released !== undefined && { released }) });
    };
    const want = async () => {
      const jobId = randomUUID();
      wanted.add(jobId);
      const completeBy = Date.now() + 3_600_000;
      const about = { tenant: "default", priority: "normal", kind: "csm", expectedSeconds: 5 } as const;
      await pool.signal(requestLease, { jobId, attempt: 1, completeBy, ...about });
    };
    let busy = true;
    const activities = {
      wantCensus: async () => {},
      sendPoolMessages: async ({ messages }: { messages: PoolMessage[] }) => {
        for (const message of messages) {
          if (message.kind !== "assign") continue;
          assigned.push(message.assignment.jobId);
          await tellIdle(message.assignment.leaseId);
          if (busy) await want();
        }
        return messages.map(() => true);
      },
    };
    await withWorker(activities, async () => {
      const settings = { limits: { min: 0, max: 1 }, preLaunchMs: { min: 0, max: 0 }, lifetimeMs: 7_200_000 };
      await client.workflow.start<typeof gpuPool>("gpuPool", {
        workflowId: ids.pool(TYPE),
        taskQueue: taskQueues.main,
        args: [{ type: TYPE, settings: { ...settings, lingerMs: 3_600_000 } }],
      });
      await tellIdle();
      for (let count = 0; count < 5; count += 1) await want();
      await untilContinued(ids.pool(TYPE), 3);
      busy = false;
      await eventually("all have been assigned", () => assigned.length >= wanted.size);
      assert.deepEqual([...assigned].sort(), [...wanted].sort());
      await pool.terminate();
    });
  });

  it("the reconciler, whose looks take longer than the time between them", async () => {
    const since: number[] = [];
    const activities = {
      reconcile: async (input: { since: number }) => {
        since.push(input.since);
        return { summary: "nothing" };
      },
    };
    await withWorker(activities, async () => {
      const reconciler = await client.workflow.start<typeof reconcileGpus>("reconcileGpus", {
        workflowId: ids.reconciler,
        taskQueue: taskQueues.main,
        args: [{ intervalMs: 0 }],
      });
      await untilContinued(ids.reconciler, 2);
      assert.deepEqual(
        since,
        [...since].sort((a, b) => a - b),
        "each look begins where the one before began",
      );
      await reconciler.terminate();
    });
  });
});
