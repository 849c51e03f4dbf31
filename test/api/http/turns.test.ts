import assert from "node:assert/strict";
import { createTurns } from "../../../src/api/http/turns.ts";

describe("works that take turns", () => {
  /** Works that end when they are told to, and the order in which they began. */
  function works() {
    const begun: string[] = [];
    const ends = new Map<string, () => void>();
    const work = (name: string) => async () => {
      begun.push(name);
      await new Promise<void>((resolve) => ends.set(name, resolve));
    };
    return { begun, work, end: (name: string) => ends.get(name)?.() };
  }

  it("begin in their order, as many at one time as may", async () => {
    const { begun, work, end } = works();
    const inTurn = createTurns(2, 10_000);
    const done = ["a", "b", "c", "d"].map((name) => inTurn(work(name)));
    assert.deepEqual(begun, []);
    await new Promise(setImmediate);
    assert.deepEqual(begun, ["a", "b"]);
    for (const [ended, next] of [
      ["b", "c"],
      ["a", "d"],
    ] as const) {
      end(ended);
      await new Promise(setImmediate);
      assert.equal(begun.at(-1), next);
    }
    end("c");
    end("d");
    await Promise.all(done);
  });

  it("are refused before they begin: when it takes too long, and when nobody waits for them any more", async () => {
    const { begun, work, end } = works();
    const inTurn = createTurns(1, 20);
    const first = inTurn(work("a"));
    await assert.rejects(inTurn(work("b")), { status: 503, code: "overloaded" });
    end("a");
    await first;
    await assert.rejects(
      inTurn(work("c"), () => true),
      { status: 503, code: "overloaded" },
    );
    assert.deepEqual(begun, ["a"]);
    const last = inTurn(work("d"));
    await new Promise(setImmediate);
    end("d");
    await last;
  });

  it("pass their turn on when they fail", async () => {
    const inTurn = createTurns(1, 1000);
    const failing = inTurn(() => Promise.reject(new Error("no")));
    const next = inTurn(async () => "done");
    await assert.rejects(failing, /no/);
    assert.equal(await next, "done");
  });
});
