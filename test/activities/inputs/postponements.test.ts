import assert from "node:assert/strict";
import { createPostponements } from "../../../src/activities/inputs/postponements.ts";

describe("a job that is put off", () => {
  it("comes back the later the more of its tenant's are, and within minutes", () => {
    const postponements = createPostponements();
    const pauses = Array.from({ length: 2000 }, () => Number(postponements.next("many").nextRetryDelay));
    assert.ok((pauses[0] ?? 0) >= 3000 && (pauses[0] ?? 0) <= 6000, String(pauses[0]));
    assert.ok((pauses[99] ?? 0) >= 25_000 && (pauses[99] ?? 0) <= 50_000, String(pauses[99]));
    assert.ok((pauses.at(-1) ?? 0) >= 120_000 && Math.max(...pauses) <= 240_000, String(pauses.at(-1)));
    const other = Number(postponements.next("few").nextRetryDelay);
    assert.ok(other <= 6000, "others are not held up by it");
  });

  it("is no failure that somebody is to look at", () => {
    const { type, nonRetryable, category } = createPostponements().next("one");
    assert.deepEqual([type, nonRetryable, category], ["InputsPostponed", false, "BENIGN"]);
  });
});
