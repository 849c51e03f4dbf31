import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ids, taskQueues } from "../../src/contracts/names.ts";
import { eventually } from "../support/eventually.ts";
import { type PausableTemporal, startPausableTemporal } from "../support/pausableTemporal.ts";
import { startTestApi, type TestApi } from "./support.ts";

const SUBMISSIONS = 400;
const CONNECTIONS = 96;
const REFUSED_FOR_MS = 1000;

interface Answer {
  order: number;
  status: number;
  code: string | undefined;
  retryAfter: string | null;
  /** The job that the caller was told of. */
  id: string | undefined;
}

describe("a Temporal server that is slow", () => {
  let temporal: PausableTemporal;
  let api: TestApi;
  before(async () => {
    temporal = await startPausableTemporal();
    api = await startTestApi({ client: temporal.client });
  });
  after(async () => {
    temporal.resume();
    await api.close();
    await temporal.stop();
  });

  async function submit(order: number): Promise<Answer> {
    const response = await api.post("/csm", { text: "Hello.", metadata: { order } });
    const { id, job_id, code } = (await response.json()) as { id?: string; job_id?: string; code?: string };
    return { order, status: response.status, code, retryAfter: response.headers.get("Retry-After"), id: id ?? job_id };
  }

  async function submitAll(): Promise<Answer[]> {
    const answers: Answer[] = [];
    let next = 0;
    const connection = async () => {
      while (next < SUBMISSIONS) {
        next += 1;
        const answer = await submit(next);
        answers.push(answer);
        // As callers do who are told when to come back, in short.
        if (answer.status !== 200) await sleep(REFUSED_FOR_MS);
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, connection));
    return answers;
  }

  /** Slow at first, then silent for longer than one try, then for longer than anybody waits, then slow again. */
  async function trouble(signal: AbortSignal): Promise<void> {
    const pausesMs = [400, 400, 6000, 400, 12_500];
    for (;;) {
      if (signal.aborted) return;
      temporal.pause();
      await sleep(pausesMs.shift() ?? 400, undefined, { signal }).catch(() => {});
      temporal.resume();
      await sleep(200, undefined, { signal }).catch(() => {});
    }
  }

  /** Every job that there is, by its id; known when one that came after all of them is listed. */
  async function startedJobs(): Promise<Map<string, number>> {
    const last = randomUUID();
    await temporal.client.workflow.start("marker", { workflowId: last, taskQueue: taskQueues.main });
    return await eventually("all that was started is listed", async () => {
      const found = new Map<string, number>();
      let isComplete = false;
      for await (const { workflowId, memo } of temporal.client.workflow.list()) {
        if (workflowId === last) isComplete = true;
        else if (memo?.view !== undefined) found.set(workflowId, (memo.metadata as { order: number }).order);
      }
      return isComplete ? found : undefined;
    });
  }

  it(`has no job started whose id was not told, of ${SUBMISSIONS} at ${CONNECTIONS} connections`, async function () {
    this.timeout(120_000);
    const over = new AbortController();
    const troubled = trouble(over.signal);
    const answers = await submitAll();
    over.abort();
    await troubled;

    const started = await startedJobs();
    const told = new Map(answers.flatMap(({ id, order }) => (id === undefined ? [] : [[ids.job(id), order] as const])));
    const untold = [...started].filter(([workflowId, order]) => told.get(workflowId) !== order);
    assert.deepEqual(untold, []);
    const accepted = answers.filter(({ status }) => status === 200);
    assert.ok(accepted.length > 0);
    // Not in the list: it may be told of the marker first.
    for (const { id = "" } of accepted) await temporal.client.workflow.getHandle(ids.job(id)).describe();
    const refused = answers.filter(({ status }) => status !== 200);
    assert.ok(refused.length > 0, "the server was slow enough");
    for (const { status, code, retryAfter, id } of refused) {
      assert.match(`${status} ${code}`, /^503 (overloaded|job_start_unknown|temporal_unavailable)$/);
      assert.match(retryAfter ?? "", /^\d+$/);
      assert.equal(id !== undefined, code === "job_start_unknown");
    }
  });
});
