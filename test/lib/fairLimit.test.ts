import assert from "node:assert/strict";
import { createFairLimit } from "../../src/lib/fairLimit.ts";

/** Work that ends when it is told to. */
function tasks(limit: ReturnType<typeof createFairLimit>) {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    started,
    submit(name: string, keys: [string, ...string[]], signal?: AbortSignal) {
      const work = () => {
        started.push(name);
        return new Promise<void>((resolve) => ends.set(name, resolve));
      };
      return limit.run(keys, work, signal);
    },
    async end(name: string) {
      ends.get(name)?.();
      await new Promise(setImmediate);
    },
  };
}

describe("a fair limit", () => {
  it("lets so much be at work in all, and of each key", async () => {
    const limit = createFairLimit({ total: 3, perKey: 2 });
    const { started, submit, end } = tasks(limit);
    for (const name of ["a1", "a2", "a3"]) void submit(name, ["a"]);
    void submit("b1", ["b"]);
    void submit("c1", ["c"]);
    await new Promise(setImmediate);
    assert.deepEqual(started, ["a1", "a2", "b1"]);
    assert.deepEqual([limit.count("a"), limit.count("b"), limit.count("c"), limit.count("d")], [3, 1, 1, 0]);
    await end("a1");
    assert.deepEqual(started, ["a1", "a2", "b1", "c1"], "of c nothing was at work");
    await end("b1");
    assert.deepEqual(started.at(-1), "a3");
  });

  it("keeps the order of those that come equally soon, and counts every key", async () => {
    const { started, submit, end } = tasks(createFairLimit({ total: 10, perKey: 1 }));
    void submit("a at h", ["a", "h"]);
    void submit("b at h", ["b", "h"]);
    void submit("c at g", ["c", "g"]);
    void submit("d at h", ["d", "h"]);
    await new Promise(setImmediate);
    assert.deepEqual(started, ["a at h", "c at g"]);
    await end("a at h");
    await end("b at h");
    assert.deepEqual(started, ["a at h", "c at g", "b at h", "d at h"]);
  });

  it("lets go of what is not wanted any more, and of what fails", async () => {
    const limit = createFairLimit({ total: 1, perKey: 1 });
    const failed = limit.run(["a"], async () => {
      throw new Error("failed");
    });
    const giveUp = new AbortController();
    const { started, submit, end } = tasks(limit);
    const unwanted = submit("unwanted", ["a"], giveUp.signal);
    const wanted = submit("wanted", ["a", "a"]);
    giveUp.abort(new Error("given up"));
    await assert.rejects(unwanted, /given up/);
    await assert.rejects(failed, /failed/);
    await new Promise(setImmediate);
    assert.deepEqual(started, ["wanted"]);
    await end("wanted");
    await wanted;
    assert.equal(limit.count("a"), 0);
  });
});
