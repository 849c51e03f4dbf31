import assert from "node:assert/strict";
import { providerStates } from "../../src/gpus/types.ts";
import { providerNotice } from "../../src/workers/providerNotice.ts";

describe("what is said of the provider at the start", () => {
  for (const state of providerStates) {
    it(`is what is wrong, what it said, and what becomes of jobs: ${state}`, () => {
      const notice = providerNotice({ state, reason: "Comput3 /balance answered 401: Invalid API key" });
      assert.match(notice, /^The [^:]+: Comput3 \/balance answered 401: Invalid API key\. Jobs wait until .+\.$/);
    });
  }
});
