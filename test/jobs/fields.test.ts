import assert from "node:assert/strict";
import { timeField } from "../../src/jobs/fields.ts";

describe("a time in a request", () => {
  for (const text of [
    "2026-01-31T12:00:00Z",
    "2026-01-31T12:00:00.123456789Z",
    "2026-01-31T12:00:00+23:59",
    "1970-01-01T00:00:00Z",
    "2024-02-29T00:00:00Z",
    "9999-12-31T23:59:59.999Z",
  ]) {
    it(`is taken: ${text}`, () => assert.equal(timeField.parse(text), text));
  }

  for (const text of [
    ...["", "yesterday", "NaN", "2026-01-31", "2026-01-31T12:00:00", "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z"],
    ...["2026-01-01T24:00:00Z", "2016-12-31T23:59:60Z", "2026-01-01T00:00:00+24:00", "+010000-01-01T00:00:00Z"],
    ...["9999-12-31T23:59:59-00:01", "1970-01-01T00:00:00+00:01", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z"],
    ...["-000001-01-01T00:00:00Z", "+275760-09-13T00:00:00Z", "1767225600000"],
    ...[0, Number.NaN, null, undefined, {}],
  ]) {
    it(`is refused: ${text}`, () => assert.equal(timeField.safeParse(text).success, false));
  }
});
