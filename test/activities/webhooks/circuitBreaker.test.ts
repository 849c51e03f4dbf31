import assert from "node:assert/strict";
import { createReceivers } from "../../../src/activities/webhooks/circuitBreaker.ts";

const HOUR_MS = 3_600_000;
const SILENT = "http://silent.test";
const WELL = "http://well.test";

describe("receivers of webhooks", () => {
  const limits = { maxInFlight: 2, maxUnanswered: 3, pauseMs: HOUR_MS };

  function call(receivers: ReturnType<typeof createReceivers>, origin: string, answered: boolean | undefined): void {
    const admission = receivers.admit(origin);
    assert.ok(admission.admitted, `${origin} may be called`);
    admission.left(answered);
  }

  it("are called no more often at one time than they may be, and others go on", () => {
    const receivers = createReceivers(limits);
    const [first, second] = [receivers.admit(SILENT), receivers.admit(SILENT)];
    assert.ok(first.admitted && second.admitted);
    assert.deepEqual(receivers.admit(SILENT), { admitted: false, reason: "busy", retryMs: 1000 });
    call(receivers, WELL, true);
    first.left(true);
    call(receivers, SILENT, true);
  });

  it("are left alone when they have not answered several times in a row", () => {
    const receivers = createReceivers(limits);
    for (const answered of [false, false, true, false, false, undefined, false]) call(receivers, SILENT, answered);
    const admission = receivers.admit(SILENT);
    assert.ok(!admission.admitted);
    assert.equal(admission.reason, "silent");
    assert.ok(admission.retryMs > HOUR_MS / 2 && admission.retryMs <= HOUR_MS);
    call(receivers, WELL, true);
  });

  it("are tried by one call after the pause, and open again with its answer", () => {
    const receivers = createReceivers({ ...limits, pauseMs: 0 });
    for (let calls = 0; calls < 3; calls += 1) call(receivers, SILENT, false);
    const probe = receivers.admit(SILENT);
    assert.ok(probe.admitted);
    assert.deepEqual(receivers.admit(SILENT), { admitted: false, reason: "silent", retryMs: 0 });
    probe.left(true);
    const [first, second] = [receivers.admit(SILENT), receivers.admit(SILENT)];
    assert.ok(first.admitted && second.admitted);
  });
});
