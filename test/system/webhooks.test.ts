import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { createSignals } from "../../src/activities/messaging/signals.ts";
import { ids } from "../../src/contracts/names.ts";
import { failedDeliveries } from "../../src/webhooks/deliveryLog.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const SECRETS = ["the secret from now on", "the secret until now"];

describe("webhooks", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({
      env: { WEBHOOK_SECRET: SECRETS.join(",") },
      webhook: { retryDelaysMs: [50, 50] },
    });
  });
  after(() => stack.close());

  const hook = (name: string, query = "") => `${stack.simulator.url}/sim/hooks/${name}${query}`;
  const untilReceived = (name: string, times: number) =>
    eventually(`${times} deliveries to ${name}`, () => stack.simulator.received(name).length >= times);
  const stateOf = async (id: string) => (await stack.client.workflow.getHandle(ids.webhook(id)).describe()).status.name;
  const untilOver = (id: string) =>
    eventually("the webhook is over", async () => ((await stateOf(id)) === "RUNNING" ? undefined : stateOf(id)));
  const submit = (name: string, query = "") => stack.submit({ text: "Hi.", notify_url: hook(name, query) });
  const pausePool = async (paused: boolean) => {
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify({ paused });
    assert.ok((await fetch(`${stack.apiUrl}/pools/media:fast`, { method: "PATCH", headers, body })).ok);
  };
  const codesOf = async (id: string) => {
    const { deliveries } = (await stack.get(`/jobs/${id}/deliveries`)).body;
    return (deliveries as { code: number }[]).map(({ code }) => code);
  };

  it("are tried again until a receiver takes them, signed with both secrets, with one id", async () => {
    const id = await submit("flaky", "?fail=2");
    await untilReceived("flaky", 3);
    assert.equal(await untilOver(id), "COMPLETED");
    const received = stack.simulator.received("flaky");
    assert.equal(received.length, 3);
    assert.equal(new Set(received.map(({ headers }) => headers["webhook-id"])).size, 1);
    for (const secret of SECRETS) {
      const verifier = new Webhook(secret, { format: "raw" });
      for (const { body, headers } of received) assert.ok(verifier.verify(body, headers));
    }
    assert.deepEqual(await codesOf(id), [503, 503, 200]);
  });

  it("are given up when the attempts are used up, the job keeps its state, and they can be sent again", async () => {
    const id = await submit("broken", "?fail=3");
    await untilReceived("broken", 3);
    assert.equal(await untilOver(id), "FAILED");
    assert.equal(stack.simulator.received("broken").length, 3);
    assert.equal((await stack.view(id)).state, "success");
    assert.equal(await stack.untilClosed(id), "COMPLETED");

    const { status } = await stack.post(`/jobs/${id}/deliveries`, {});
    assert.equal(status, 202);
    await untilReceived("broken", 4);
    assert.equal(await untilOver(id), "COMPLETED");
    const { body } = await stack.get(`/jobs/${id}/deliveries`);
    assert.equal(body.url, hook("broken"));
    assert.deepEqual(await codesOf(id), [503, 503, 503, 200]);
    const [first] = body.deliveries as Record<string, unknown>[];
    assert.deepEqual(Object.keys(first ?? {}), ["time", "delivered", "code", "ms"]);
    const ofHeader = stack.simulator.received("broken").map(({ headers }) => headers["webhook-id"]);
    assert.deepEqual(new Set(ofHeader), new Set([`msg_${id}`]));
  });

  it("that failed are all sent again, once", async () => {
    const since = new Date().toISOString();
    const jobs = await Promise.all([submit("one", "?fail=3"), submit("two", "?fail=3"), submit("three")]);
    for (const [name, times] of [
      ["one", 3],
      ["two", 3],
      ["three", 1],
    ] as const) {
      await untilReceived(name, times);
    }
    for (const id of jobs) await untilOver(id);
    const span = { since, until: new Date().toISOString() };
    await eventually("both are listed as failed", async () => {
      const { count } = await stack.client.workflow.count(failedDeliveries(span));
      return count === 2;
    });
    assert.deepEqual(await stack.post("/deliveries", { since, status: "failed" }), { status: 202, body: { count: 2 } });
    await untilReceived("one", 4);
    await untilReceived("two", 4);
    const replay = stack.client.workflow.getHandle(ids.replay);
    assert.deepEqual(await replay.result(), { seen: 2, replayed: 2 });
    for (const id of jobs) assert.equal(await untilOver(id), "COMPLETED");

    assert.equal((await stack.post("/deliveries", { since })).status, 202);
    assert.deepEqual(await replay.result(), { seen: 2, replayed: 0 });
    assert.equal(stack.simulator.received("three").length, 1);
    assert.equal((await stack.post("/deliveries", { since: "yesterday" })).status, 400);
  });

  it("can only be sent again when there is something to tell, and somebody", async () => {
    await pausePool(true);
    const waiting = await submit("waiting");
    const refused = await stack.post(`/jobs/${waiting}/deliveries`, {});
    assert.deepEqual([refused.status, refused.body.code], [409, "job_running"]);
    await pausePool(false);
    await untilReceived("waiting", 1);

    const silent = await stack.submit();
    await stack.untilClosed(silent);
    const missing = await stack.post(`/jobs/${silent}/deliveries`, {});
    assert.deepEqual([missing.status, missing.body.code], [404, "no_webhook"]);
    assert.deepEqual((await stack.get(`/jobs/${silent}/deliveries`)).body, { id: silent, deliveries: [] });
  });

  it("are believed: what a worker told before it died is how the job ended, whatever came meanwhile", async () => {
    await pausePool(true);
    const id = await submit("told");
    const ending = { state: "failed", error: "the model refused it" } as const;
    await createSignals(stack).startWebhook({ jobId: id, tenant: "default", url: hook("told"), ending });
    await stack.post(`/job/${id}`, { status: "cancelled" });
    assert.equal(await stack.untilClosed(id), "FAILED");
    await pausePool(false);
    const { body } = await stack.get(`/status/${id}`);
    assert.deepEqual(body, { id, status: "failed", error: ending.error });
    await untilOver(id);
    assert.deepEqual(
      stack.simulator.received("told").map((received) => JSON.parse(received.body).status),
      ["failed"],
    );
  });

  it("never lead inside", async () => {
    const id = await stack.submit({ text: "Hi.", notify_url: "http://localhost.localdomain.invalid/hook" });
    await stack.untilState(id, "success");
    const refused = await stack.post("/csm", { text: "Hi.", notify_url: "http://169.254.169.254/latest" });
    assert.equal(refused.status, 400);
  });
});
