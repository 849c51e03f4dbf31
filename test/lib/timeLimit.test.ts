import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { timeLimit } from "../../src/lib/timeLimit.ts";

describe("a time limit", () => {
  const never = new EventEmitter();
  const errorOf = async (signal: AbortSignal) =>
    await once(never, "event", { signal }).catch((error: Error) => error.cause);

  it("comes, though garbage is collected while nothing else refers to it", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc") as () => void;
    const caller = new AbortController();
    const errors = Promise.all([
      errorOf(timeLimit(100)),
      errorOf(timeLimit(100, caller.signal)),
      errorOf(timeLimit(60_000, timeLimit(100, caller.signal))),
    ]);
    for (let turns = 0; turns < 5; turns += 1) {
      await turn();
      collectGarbage();
    }
    for (const error of await errors) assert.ok(error instanceof DOMException && error.name === "TimeoutError");
    assert.equal(caller.signal.aborted, false);
  });

  it("comes when its caller gives up", async () => {
    const caller = new AbortController();
    const waiting = errorOf(timeLimit(60_000, caller.signal));
    caller.abort("enough");
    assert.equal(await waiting, "enough");
  });
});
