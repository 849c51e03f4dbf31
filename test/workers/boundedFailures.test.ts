import assert from "node:assert/strict";
import { CompleteAsyncError } from "@temporalio/activity";
import {
  ApplicationFailure,
  ApplicationFailureCategory,
  CancelledFailure,
  DefaultFailureConverter,
} from "@temporalio/common";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger, defaultPayloadConverter } from "@temporalio/worker";
import { boundedFailures } from "../../src/workers/boundedFailures.ts";

const MANY = 6 * 1024 * 1024;
/** The server refuses failures of 2 MiB; a history holds many of them. */
const MAX_BYTES = 32 * 1024;

function nested(depth: number): Error {
  return new Error(`${depth} ${"c".repeat(MANY / 10)}`, depth === 0 ? {} : { cause: nested(depth - 1) });
}

describe("what an activity throws", () => {
  const thrown = async (error: unknown) => {
    const options = {
      interceptors: [() => ({ inbound: boundedFailures })],
      logger: new DefaultLogger("ERROR", () => {}),
    };
    return await new MockActivityEnvironment({}, options)
      .run(() => Promise.reject(error))
      .then(
        () => assert.fail("nothing"),
        (caught: unknown) => caught,
      );
  };
  const converter = new DefaultFailureConverter();

  const cases: [what: string, error: unknown, message: RegExp, type: string][] = [
    ["an error of six megabytes", new Error("e".repeat(MANY)), /^e{999}…$/, "Error"],
    ["one with causes, each of which has", nested(9), /^9 c+…$/, "Error"],
    ["one that moves the cursor", new TypeError("a\u001b[2Jb\r\nc\u0000d"), /^ab c d$/, "TypeError"],
    ["one that is no text", new Error("a\ud800b"), /^a\ufffdb$/, "Error"],
    ["one whose message cannot be changed", new DOMException("e".repeat(MANY), "DataError"), /^e{999}…$/, "DataError"],
    ["one that is none", "e".repeat(MANY), /^e{999}…$/, "Error"],
    ["one of ours", ApplicationFailure.nonRetryable("e".repeat(MANY), "ModelFailed"), /^e{999}…$/, "ModelFailed"],
  ];
  for (const [what, error, message, type] of cases) {
    it(`is small enough for Temporal: ${what}`, async () => {
      const failure = await thrown(error);
      assert.ok(failure instanceof ApplicationFailure, String(failure));
      assert.match(failure.message, message);
      assert.equal(failure.type, type);
      const bytes = JSON.stringify(converter.errorToFailure(failure, defaultPayloadConverter)).length;
      assert.ok(bytes < MAX_BYTES, `${bytes} bytes`);
    });
  }

  it("is otherwise as it was", async () => {
    const error = ApplicationFailure.create({
      message: "image: it is too large",
      type: "InvalidInput",
      nonRetryable: true,
      details: [{ a: 1 }],
      nextRetryDelay: 5000,
      category: ApplicationFailureCategory.BENIGN,
      cause: new RangeError("why"),
    });
    const failure = await thrown(error);
    assert.ok(failure instanceof ApplicationFailure);
    const { message, type, nonRetryable, details, nextRetryDelay, category, cause } = error;
    assert.deepEqual(
      [failure.message, failure.type, failure.nonRetryable, failure.details, failure.nextRetryDelay, failure.category],
      [message, type, nonRetryable, details, nextRetryDelay, category],
    );
    assert.equal(failure.cause?.message, cause?.message);
    assert.match(failure.stack ?? "", /boundedFailures\.test/);
  });

  for (const error of [
    new CancelledFailure("cancelled", [{ nodeIdle: true }]),
    new CompleteAsyncError(),
    new DOMException("aborted", "AbortError"),
  ]) {
    it(`is untouched where it tells the SDK how the activity ended: ${error.name}`, async () => {
      assert.equal(await thrown(error), error);
    });
  }
});
