import assert from "node:assert/strict";
import { once } from "node:events";
import { watchLoop } from "../../src/process/loopTime.ts";
import { blockTheLoop, untilAborted } from "../support/lateness.ts";

describe("a time limit in the loop's own time", () => {
  it("comes when the loop runs, and then nothing was late", async () => {
    const loop = watchLoop(150);
    await untilAborted(loop.signal);
    assert.match(String(loop.signal.reason), /TimeoutError: no answer within 150 ms/);
    loop.end();
  });

  it("does not come because the loop stood still, and tells for how long it did", async () => {
    const loop = watchLoop(1000);
    blockTheLoop(1500);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(loop.signal.aborted, false);
    assert.ok(loop.lateMs() > 1300, `${loop.lateMs()} ms late`);
    await untilAborted(loop.signal);
    loop.end();
  });

  it("comes at last, however late the loop is", async () => {
    const loop = watchLoop(100);
    const startedAt = performance.now();
    while (!loop.signal.aborted) {
      blockTheLoop(250);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    assert.ok(performance.now() - startedAt < 1500);
    loop.end();
  });

  it("ends with the caller's signal, and for its reason", async () => {
    const caller = new AbortController();
    const loop = watchLoop(60_000, caller.signal);
    const aborted = once(loop.signal, "abort");
    caller.abort(new Error("enough"));
    await aborted;
    assert.match(String(loop.signal.reason), /enough/);
    loop.end();
    const late = watchLoop(60_000, caller.signal);
    assert.equal(late.signal.aborted, true);
    late.end();
  });
});
