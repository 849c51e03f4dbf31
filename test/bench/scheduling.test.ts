import assert from "node:assert/strict";
import {
  goals,
  measureDeadlines,
  measureFairness,
  measureStarvation,
  measureTrace,
  quantile,
  traceNames,
} from "../../bench/schedulingGoals.ts";

/** Everything is made from seeds: what is reached once is reached always. */
describe("the goals of the scheduling", () => {
  for (const name of traceNames) {
    it(`are met by GPU-hours and waits of the ${name} trace`, () => {
      const { ratio, fixed, goal } = measureTrace(name, [7, 11]);
      assert.ok(ratio <= goal.ratio, `${ratio} of the original's GPU-hours`);
      assert.ok(quantile(fixed.waits, 0.95) <= goal.wait, `${quantile(fixed.waits, 0.95)} s`);
    });
  }

  it("are met by deadlines", () => {
    const { ours } = measureDeadlines([7]);
    assert.ok(ours.all >= goals.deadlines && ours.tight >= goals.deadlines, `${ours.all}, ${ours.tight}`);
  });

  it("are met by a tenant next to one who submits a hundred times as much", () => {
    const indices = [11, 23].map(measureFairness);
    assert.ok(Math.min(...indices) >= goals.fairness, indices.join(", "));
  });

  it("are met by jobs of low priority", () => {
    const { count, waits } = measureStarvation(7).low;
    assert.equal(waits.length, count);
    assert.ok(quantile(waits, 1) <= goals.longestLowWait, `${quantile(waits, 1)} s`);
  });
});
