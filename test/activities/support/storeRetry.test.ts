import assert from "node:assert/strict";
import { MockActivityEnvironment } from "@temporalio/testing";
import { whileStoreIsAway } from "../../../src/activities/support/storeRetry.ts";
import { ObjectNotFound } from "../../../src/storage/objectStore.ts";

describe("patience with the object store", () => {
  const signal = new AbortController().signal;
  const run = (ask: () => Promise<string>, until = signal) =>
    new MockActivityEnvironment().run(() => whileStoreIsAway(ask, until));
  const away = () => Promise.reject(new Error("connect ECONNREFUSED"));

  it("asks again until it answers", async () => {
    let asked = 0;
    const answer = await run(() => {
      asked += 1;
      return asked === 2 ? Promise.resolve("stored") : away();
    });
    assert.deepEqual([answer, asked], ["stored", 2]);
  });

  it("ends with the job's time", async () => {
    const over = new AbortController();
    const asking = run(away, over.signal);
    over.abort(new Error("the time is up"));
    await assert.rejects(asking, /the time is up/);
  });

  it("is no help against an object that is not there", async () => {
    await assert.rejects(
      run(() => Promise.reject(new ObjectNotFound("inputs/a"))),
      ObjectNotFound,
    );
  });
});
