import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Client } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import type { Postponement } from "../../src/activities/webhooks/attemptWebhook.ts";
import { deliverAgain } from "../../src/contracts/signals.ts";
import type { WebhookAttempt, WebhookRequest } from "../../src/jobs/webhook.ts";
import { taskQueues } from "../../src/temporal/connection.ts";
import { deliveryOptions } from "../../src/webhooks/deliveryLog.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import type { deliverWebhook } from "../../src/workflows/deliverWebhook.ts";
import { connectTestClient } from "../api/support.ts";
import { eventually } from "../support/eventually.ts";
import { testLog } from "../support/runtime.ts";

const HOUR_MS = 3_600_000;

interface Call {
  attempt: number;
  isFirst: boolean;
  postponed: number;
}
type Answer = WebhookAttempt | Postponement;

/** The workflow of a webhook with a receiver that the test plays. */
describe("deliverWebhook", () => {
  const calls = new Map<string, Call[]>();
  const answers = new Map<string, (call: number) => Answer | Promise<Answer>>();
  let client: Client;
  let connection: NativeConnection;
  let worker: Worker;
  let working: Promise<void>;

  before(async () => {
    testLog();
    const temporal = await connectTestClient();
    client = temporal.client;
    connection = await NativeConnection.connect({ address: temporal.address });
    worker = await Worker.create({
      connection,
      namespace: client.options.namespace,
      taskQueue: taskQueues.webhooks,
      workflowBundle: await bundleWorkflows(),
      activities: {
        async attemptWebhook({ jobId, attempt, isFirst, postponed }: WebhookRequest & Call): Promise<Answer> {
          const made = calls.get(jobId) ?? [];
          calls.set(jobId, made);
          made.push({ attempt, isFirst, postponed });
          return (await answers.get(jobId)?.(made.length)) ?? delivered;
        },
      },
    });
    working = worker.run();
  });
  after(async () => {
    worker.shutdown();
    await working;
    await connection.close();
    await client.connection.close();
  });

  const at = "2026-01-01T00:00:00.000Z";
  const delivered: WebhookAttempt = { at, delivered: true, statusCode: 200, ms: 1 };
  const refused: WebhookAttempt = { at, delivered: false, statusCode: 503, ms: 1 };

  async function start(retryDelaysMs: number[], answer: (call: number) => Answer | Promise<Answer>) {
    const jobId = randomUUID();
    answers.set(jobId, answer);
    const request = { jobId, tenant: "default", url: "http://receiver.test/", ending: { state: "success" as const } };
    const options = deliveryOptions(request);
    const handle = await client.workflow.start<typeof deliverWebhook>("deliverWebhook", {
      ...options,
      args: [{ ...request, retryDelaysMs }],
    });
    const attempts = () => calls.get(jobId) ?? [];
    return {
      handle,
      attempts,
      untilAttempts: (count: number) => eventually(`${count} attempts`, () => attempts().length >= count),
      again: () => handle.signal(deliverAgain, { replayId: randomUUID() }),
      /** The times that it waited or waits, in milliseconds. */
      async timers() {
        const { events } = await handle.fetchHistory();
        return (events ?? []).flatMap(({ timerStartedEventAttributes: timer }) =>
          timer ? [Number(timer.startToFireTimeout?.seconds ?? 0) * 1000] : [],
        );
      },
    };
  }

  it("makes one more attempt than there are delays, then fails", async () => {
    const { handle, attempts } = await start([1, 1], () => refused);
    await assert.rejects(handle.result());
    assert.deepEqual(
      attempts().map(({ attempt }) => attempt),
      [1, 2, 3],
    );
    assert.deepEqual(
      attempts().map(({ isFirst }) => isFirst),
      [true, false, false],
    );
  });

  it("waits for as long as the receiver asks to, or longer", async () => {
    const asks = { ...refused, statusCode: 429, retryAfterMs: 2 * HOUR_MS };
    const { untilAttempts, timers, again, handle } = await start([HOUR_MS, 3 * HOUR_MS], (call) =>
      call <= 2 ? asks : delivered,
    );
    for (const attempt of [1, 2]) {
      await untilAttempts(attempt);
      await eventually("it waits", async () => (await timers()).length === attempt);
      await again();
    }
    await handle.result();
    assert.deepEqual(await timers(), [2 * HOUR_MS, 3 * HOUR_MS]);
  });

  it("stops at an attempt after which none can help", async () => {
    const { handle, attempts } = await start([1, 1], () => ({ ...refused, statusCode: 410, permanent: true }));
    await assert.rejects(handle.result());
    assert.equal(attempts().length, 1);
  });

  it("uses up no attempt while the receiver may not be called", async () => {
    const { handle, attempts } = await start([], (call) => (call <= 2 ? { postponedMs: 1 } : delivered));
    assert.deepEqual(await handle.result(), [delivered]);
    assert.deepEqual(
      attempts().map(({ attempt, postponed }) => [attempt, postponed]),
      [
        [1, 0],
        [1, 1],
        [1, 2],
      ],
    );
  });

  it("makes the next attempt at once when it is asked to", async () => {
    const { handle, untilAttempts, timers, again } = await start([HOUR_MS], (call) =>
      call === 1 ? refused : delivered,
    );
    await untilAttempts(1);
    await eventually("it waits", async () => (await timers()).length === 1);
    await again();
    assert.deepEqual(await handle.result(), [refused, delivered]);
  });

  it("delivers again, after the attempt that runs", async () => {
    let answer = (_: Answer) => {};
    const first = new Promise<Answer>((resolve) => {
      answer = resolve;
    });
    const { handle, attempts, untilAttempts, again } = await start([], (call) => (call === 1 ? first : delivered));
    await untilAttempts(1);
    await again();
    assert.equal(attempts().length, 1);
    answer(delivered);
    assert.deepEqual(await handle.result(), [delivered, delivered]);
    assert.deepEqual(
      attempts().map(({ attempt }) => attempt),
      [1, 2],
    );
  });
});
