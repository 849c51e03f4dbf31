import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Client, WorkflowHandle } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { initialView, type JobSpec, type JobView } from "../../src/jobs/job.ts";
import { readPoolOverrides } from "../../src/storage/poolOverrides.ts";
import { writeLedger } from "../../src/webhooks/deliveryLog.ts";
import { connectLossyClient, type LossyClient } from "../support/lossyTemporal.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const TYPE = "media:fast";
/** As many as nobody waits for. */
const ALL = 1_000_000;
type Body = Record<string, unknown>;

describe("an answer of Temporal that gets lost", () => {
  let direct: Client;
  let lossy: LossyClient;
  let api: TestApi;
  before(async () => {
    const temporal = await connectTestClient();
    direct = temporal.client;
    lossy = await connectLossyClient(temporal.address, direct.options.namespace);
    api = await startTestApi({ client: lossy.client });
  });
  const opened: WorkflowHandle[] = [];
  afterEach(async () => {
    lossy.loseNothing();
    for (const handle of opened.splice(0)) await handle.terminate().catch(() => {});
  });
  after(async () => {
    await api.close();
    await lossy.client.connection.close();
    await direct.connection.close();
  });

  async function open(workflowId: string, memo: Body = {}): Promise<WorkflowHandle> {
    const handle = await direct.workflow.start("mailbox", { workflowId, taskQueue: "nobody works on it", memo });
    opened.push(handle);
    return handle;
  }

  /** A job that shows itself like that, and of which nothing comes. */
  async function job(patch: Partial<JobView> = {}): Promise<string> {
    const id = randomUUID();
    const now = Date.now();
    const times = { createdAt: now, completeBy: now + 60_000, maxTimeSeconds: 60 };
    const spec = { id, type: "csm", tenant: "default", priority: "normal", ...times } as JobSpec;
    await open(ids.job(id), { view: { ...initialView(spec), ...patch } });
    return id;
  }

  const webhookOf = (jobId: string) => ({
    request: { jobId, tenant: "default", url: "https://example.com/hook", ending: { state: "success" as const } },
    attempts: [],
  });

  async function endedWithWebhook(): Promise<string> {
    const id = await job({ state: "success" });
    await writeLedger(api.store, webhookOf(id));
    opened.push(direct.workflow.getHandle(ids.webhook(id)));
    return id;
  }

  const send = async (method: string, path: string, body?: unknown) => {
    const headers = { "Content-Type": "application/json" };
    const response = await api.fetch(path, {
      method,
      ...(body !== undefined && { headers, body: JSON.stringify(body) }),
    });
    return { status: response.status, headers: response.headers, body: (await response.json()) as Body };
  };
  const exists = async (workflowId: string) =>
    await direct.workflow
      .getHandle(workflowId)
      .describe()
      .then(({ status }) => status.name === "RUNNING")
      .catch(() => false);
  const signals = async (workflowId: string) => {
    const { events } = await direct.workflow.getHandle(workflowId).fetchHistory();
    return (events ?? []).filter((event) => event.workflowExecutionSignaledEventAttributes).length;
  };

  const submission = { text: "Hello." };

  /** What changes something: the call whose answer is lost, and whether it was done all the same. */
  const changes: {
    what: string;
    lost: string;
    status: number;
    prepare?: () => Promise<string>;
    request: (id: string) => Promise<{ status: number; headers: Headers; body: Body }>;
    isDone: (id: string, body: Body) => Promise<boolean>;
    /** When it cannot be found out. */
    unknown: { status: number; code?: string; names: boolean };
  }[] = [
    {
      what: "a submission",
      lost: "StartWorkflowExecution",
      status: 200,
      request: () => send("POST", "/csm", submission),
      isDone: (_id, { id, job_id }) => exists(ids.job(String(id ?? job_id))),
      unknown: { status: 503, code: "job_start_unknown", names: true },
    },
    {
      what: "a cancel",
      lost: "SignalWorkflowExecution",
      status: 202,
      prepare: job,
      request: (id) => send("POST", `/job/${id}`, { status: "cancelled" }),
      isDone: async (id) => (await signals(ids.job(id))) > 0,
      unknown: { status: 503, code: "outcome_unknown", names: true },
    },
    {
      what: "a removal",
      lost: "StartWorkflowExecution",
      status: 202,
      prepare: job,
      request: (id) => send("DELETE", `/jobs/${id}`),
      isDone: (id) => exists(ids.removal(id)),
      unknown: { status: 503, code: "outcome_unknown", names: true },
    },
    {
      what: "a redelivery",
      lost: "SignalWithStartWorkflowExecution",
      status: 202,
      prepare: endedWithWebhook,
      request: (id) => send("POST", `/jobs/${id}/deliveries`),
      isDone: (id) => exists(ids.webhook(id)),
      unknown: { status: 503, code: "outcome_unknown", names: true },
    },
    {
      what: "a replay of all failed webhooks",
      lost: "StartWorkflowExecution",
      status: 202,
      prepare: async () => {
        opened.push(direct.workflow.getHandle(ids.replay));
        return "";
      },
      request: () => send("POST", "/deliveries", { since: new Date().toISOString() }),
      isDone: () => exists(ids.replay),
      unknown: { status: 503, code: "outcome_unknown", names: false },
    },
    {
      what: "a drain",
      lost: "SignalWorkflowExecution",
      status: 200,
      prepare: async () => (await open(ids.gpu(TYPE, Math.floor(Math.random() * 1e9)))).workflowId,
      request: (id) => send("POST", `/gpus/${id}/drain`),
      isDone: async (id) => (await signals(id)) > 0,
      unknown: { status: 503, code: "outcome_unknown", names: false },
    },
    {
      what: "a change of a pool",
      lost: "SignalWorkflowExecution",
      status: 200,
      prepare: async () => (await open(ids.pool(TYPE))).workflowId,
      request: () => send("PATCH", `/pools/${TYPE}`, { max: 3 }),
      isDone: async () => (await readPoolOverrides(api.store, TYPE)).max === 3,
      unknown: { status: 200, names: false },
    },
  ];

  for (const { what, lost, status, prepare, request, isDone } of changes) {
    it(`is no failure of ${what}`, async () => {
      const id = (await prepare?.()) ?? "";
      lossy.lose(lost);
      const answer = await request(id);
      assert.equal(answer.status, status, JSON.stringify(answer.body));
      assert.ok(await isDone(id, answer.body));
    });
  }

  it("is never taken for a failure, when what became of a change cannot be found out", async () => {
    const prepared = await Promise.all(changes.map(async ({ prepare }) => (await prepare?.()) ?? ""));
    for (const { lost } of changes) lossy.lose(lost, ALL);
    const answers = await Promise.all(changes.map(({ request }, index) => request(prepared[index] ?? "")));
    lossy.loseNothing();
    for (const [index, { what, isDone, unknown }] of changes.entries()) {
      const { status, headers, body } = answers[index]!;
      assert.deepEqual([status, body.code], [unknown.status, unknown.code], `${what}: ${JSON.stringify(body)}`);
      assert.ok(await isDone(prepared[index] ?? "", body), what);
      if (unknown.status === 200) assert.equal(body.pending, true, what);
      else {
        assert.match(String(body.error), /not known whether/, what);
        assert.match(headers.get("Retry-After") ?? "", /^\d+$/, what);
        assert.equal(body.job_id !== undefined, unknown.names, what);
      }
    }
  });

  it("does not make another one's replay of webhooks the caller's", async () => {
    await open(ids.replay, { requestId: "of somebody else" });
    lossy.lose("StartWorkflowExecution");
    const { status, body } = await send("POST", "/deliveries", { since: new Date().toISOString() });
    assert.deepEqual([status, body.code], [409, "replay_running"]);
  });

  it("makes no second job under an Idempotency-Key, nor hides that there is one", async () => {
    const headers = { "Idempotency-Key": randomUUID() };
    lossy.lose("StartWorkflowExecution");
    const first = await api.post("/csm", submission, headers);
    const again = await api.post("/csm", submission, headers);
    assert.deepEqual([first.status, again.status], [200, 200]);
    assert.deepEqual(await first.json(), await again.json());
  });

  it("after a job was told to end is no failure of it", async () => {
    const id = await job();
    const answering = send("POST", `/job/${id}`, { status: "cancelled" });
    const told = lossy.calls("SignalWorkflowExecution");
    while (lossy.calls("SignalWorkflowExecution") === told) await new Promise(setImmediate);
    lossy.lose("DescribeWorkflowExecution", ALL);
    const { status, body } = await answering;
    assert.deepEqual([status, body.pending], [202, true], JSON.stringify(body));
  });
});
