import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("deadlines", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({
      gpu: { pools: { "media:fast": { max: 1 } }, cancelSettleMs: 300 },
      renderSeconds: 8,
    });
  });
  after(() => stack.close());

  const webhookOf = (name: string) =>
    eventually(`the webhook of ${name}`, () => stack.simulator.received(name)[0]).then(({ body }) => JSON.parse(body));
  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;

  it("fails a job that exceeds max_time while it renders, tells the caller, and frees the GPU", async () => {
    const id = await stack.start({ notifyUrl: hook("max-time"), maxTimeSeconds: 1 });
    const { error } = await stack.untilState(id, "failed");
    assert.equal(error, "Job exceeded maximum runtime of 1 seconds");
    assert.deepEqual(await webhookOf("max-time"), { id, status: "failed", error });
    assert.equal(await stack.untilClosed(id), "FAILED");
    // The run could not be seen to end in time, so its instance was retired.
    await eventually("the instance is stopped", () => stack.simulator.instances().at(-1)?.why === "stopped");
  });

  it("fails a job that is past complete_in while it renders", async () => {
    const completeBy = Date.now() + 5000;
    const id = await stack.start({ notifyUrl: hook("complete-by"), completeBy });
    await stack.untilState(id, "running");
    const { error } = await stack.untilState(id, "failed");
    assert.equal(error, `Job could not be completed by ${new Date(completeBy).toISOString()}`);
    assert.equal((await webhookOf("complete-by")).status, "failed");
    await eventually("the instance is stopped", () => stack.simulator.instances().at(-1)?.why === "stopped");
  });

  it("expires a job that still waits for a GPU, without using one", async () => {
    const holder = await stack.submit();
    await stack.untilState(holder, "running");
    const id = await stack.start({ notifyUrl: hook("expired"), completeBy: Date.now() + 1000 });
    const view = await stack.untilState(id, "failed");
    assert.equal(view.error, "Job expired before processing could begin");
    assert.equal(view.attempts, 0);
    assert.equal((await webhookOf("expired")).error, view.error);
    assert.equal(await stack.untilClosed(id), "FAILED");
    await stack.post(`/job/${holder}`, { status: "cancelled" });
    await stack.untilClosed(holder);
  });
});
