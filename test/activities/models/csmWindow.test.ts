import assert from "node:assert/strict";
import { itemsPerCall, textOfStart } from "../../../src/activities/models/csmWindow.ts";
import { splitText } from "../../../src/jobs/speechItems.ts";

/** As the model counts: frames of 80 ms, and a token for four letters. */
function fitsWindow(items: readonly string[], maxMs: number, promptFrames: number): boolean {
  let context = promptFrames;
  for (const item of items) {
    const tokens = Math.ceil(item.length / 4);
    if (context + tokens >= 2048 - maxMs / 80) return false;
    context += tokens + Math.min(maxMs / 80, (item.length / 14) * 12.5);
  }
  return true;
}

describe("the window of CSM", () => {
  const text = "A sentence that somebody speaks, neither long nor short, to fill the time. "
    .repeat(270)
    .slice(0, 20_000);
  const recording = { seconds: 30, text: "a".repeat(420) };
  const prompts = [
    ["none", 0],
    ["built-in", 28 * 12.5 + 350 / 4],
    [recording, 30 * 12.5 + 420 / 4],
  ] as const;

  for (const maxMs of [1000, 2500, 10_000, 30_000]) {
    for (const [voice, frames] of prompts) {
      const name = typeof voice === "string" ? voice : "a recording";
      it(`holds every call of 20,000 characters in items of ${maxMs} ms with the prompt: ${name}`, () => {
        const items = splitText(text, maxMs);
        let calls = 0;
        for (let from = 0; from < items.length; calls += 1) {
          const count = itemsPerCall(items.slice(from), maxMs, voice);
          const call = items.slice(from, from + count);
          assert.ok(count > 0 && fitsWindow(call, maxMs, frames), `${count} items`);
          from += count;
        }
        assert.ok(calls < 60, `${calls} calls`);
      });
    }
  }

  it("takes one item, whatever it is", () => {
    assert.equal(itemsPerCall(["x".repeat(20_000), "y"], 30_000, recording), 1);
  });

  it("keeps a short monologue in one call", () => {
    assert.equal(itemsPerCall(["Hello.", "How are you?", "Fine."], 10_000, "built-in"), 3);
  });
});

describe("the text of a recording of which a part is kept", () => {
  const said = Array.from({ length: 100 }, (_, index) => `word${index}`).join(" ");

  it("is its beginning, in proportion, at a word's end", () => {
    const start = textOfStart(said, 30, 300);
    assert.ok(said.startsWith(`${start} `), start);
    assert.ok(Math.abs(start.length - said.length / 10) < 8, start);
  });

  it("is all of it when all of the recording is kept", () => {
    assert.equal(textOfStart(` ${said} `, 60, 60), said);
  });

  it("is no more than can be said in that time", () => {
    assert.ok(textOfStart("much ".repeat(4000), 10, 10).length <= 260);
  });

  it("is never nothing", () => {
    assert.equal(textOfStart("Donaudampfschifffahrt", 1, 300), "Donaudampfschifffahrt");
  });
});
