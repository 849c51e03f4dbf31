import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("a csm job, end to end", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack();
  });
  after(() => stack.close());

  it("speaks a text: MP3 in the store, result by link, one webhook", async () => {
    const id = await stack.submit({
      text: "Hello from the tests.",
      notify_url: `${stack.simulator.url}/sim/hooks/speaks`,
      metadata: { order: 7 },
    });
    await stack.untilState(id, "success");
    assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "success" });
    const { body } = await stack.get(`/result/${id}`);
    const file = await fetch(body.result_url as string);
    assert.equal(file.headers.get("content-type"), "audio/mpeg");
    assert.ok((await file.arrayBuffer()).byteLength > 5000);
    const [delivery] = await eventually("the webhook", () => {
      const received = stack.simulator.received("speaks");
      return received.length > 0 ? received : undefined;
    });
    const told = JSON.parse(delivery!.body);
    assert.deepEqual({ ...told, result_url: "…" }, { id, status: "success", result_url: "…", metadata: { order: 7 } });
  });
});
