import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { ids } from "../../src/workflows/names.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const SECRET = "a secret that signs webhooks";

describe("webhooks", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({ env: { WEBHOOK_SECRET: SECRET } });
  });
  after(() => stack.close());

  const hook = (name: string, query = "") => `${stack.simulator.url}/sim/hooks/${name}${query}`;
  const untilReceived = (name: string, times: number) =>
    eventually(`${times} deliveries to ${name}`, () => stack.simulator.received(name).length >= times);
  const stateOf = async (id: string) => (await stack.client.workflow.getHandle(ids.webhook(id)).describe()).status.name;
  const untilOver = (id: string) =>
    eventually("the webhook is over", async () => ((await stateOf(id)) === "RUNNING" ? undefined : stateOf(id)));

  it("are tried again until a receiver takes them, signed, with one id", async () => {
    const id = await stack.submit({ text: "Hi.", notify_url: hook("flaky", "?fail=2") });
    await untilReceived("flaky", 3);
    assert.equal(await untilOver(id), "COMPLETED");
    const received = stack.simulator.received("flaky");
    assert.equal(received.length, 3);
    assert.equal(new Set(received.map(({ headers }) => headers["webhook-id"])).size, 1);
    const verifier = new Webhook(Buffer.from(SECRET).toString("base64"));
    for (const { body, headers } of received) assert.ok(verifier.verify(body, headers));
  });

  it("are given up after five attempts, and the job keeps its state", async () => {
    const id = await stack.submit({ text: "Hi.", notify_url: hook("broken", "?fail=99") });
    await untilReceived("broken", 5);
    assert.equal(await untilOver(id), "FAILED");
    assert.equal(stack.simulator.received("broken").length, 5);
    assert.equal((await stack.view(id)).state, "success");
    assert.equal(await stack.untilClosed(id), "COMPLETED");
  });

  it("never lead inside", async () => {
    const id = await stack.submit({ text: "Hi.", notify_url: "http://localhost.localdomain.invalid/hook" });
    await stack.untilState(id, "success");
    const refused = await stack.post("/csm", { text: "Hi.", notify_url: "http://169.254.169.254/latest" });
    assert.equal(refused.status, 400);
  });
});
