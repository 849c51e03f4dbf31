import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { assign, drain } from "../../src/contracts/signals.ts";
import { startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { temporalExecutable } from "../support/programs.ts";
import type { TestStack } from "../support/stack.ts";
import { type Driver, type Gpu, startDriven } from "./managers.ts";

describe("the manager of an instance, after very many events", () => {
  let server: TemporalServer;
  let stack: TestStack;
  let driver: Driver;
  before(async () => {
    server = await startTemporalServer({
      executable: await temporalExecutable(),
      port: 0,
      dynamicConfig: { "limit.historyCount.suggestContinueAsNew": 60 },
      say: () => {},
    });
    ({ stack, driver } = await startDriven({ temporalAddress: server.address }));
  });
  afterEach(() => driver.settle());
  after(async () => {
    await stack.close();
    await server.stop();
  });

  /** A flood of messages would keep the run from ending. */
  async function refuseAnother(gpu: Gpu): Promise<void> {
    const leaseId = randomUUID();
    await gpu.handle.signal(assign, { leaseId, jobId: randomUUID() });
    await gpu.untilTold("the refusal", ({ refused }) => refused === leaseId);
  }

  it("continues as new with all it knows", async () => {
    const gpu = await driver.launchIdle();
    const { lease, leaseId, release } = await driver.lend(gpu);
    const before = await gpu.view();
    const { runId } = await gpu.handle.describe();
    await eventually("it continued as new", async () => {
      await refuseAnother(gpu);
      return (await gpu.handle.describe()).runId !== runId;
    });
    assert.deepEqual(await gpu.view(), before);
    const at = await release("completed");
    const { servedSeconds } = await gpu.untilTold("the release", ({ released }) => released === leaseId);
    assert.equal(servedSeconds, (at - lease.grantedAt) / 1000);
    assert.equal((await gpu.until("idle")).usage?.jobs, 1);
    assert.equal((await driver.lend(gpu)).lease.before.bootMs, 0);
    const sequences = [...new Set((await gpu.changes()).map(({ sequence }) => sequence))];
    assert.deepEqual(
      sequences,
      sequences.map((_, index) => index + 1),
    );
  });

  it("drains as it should", async () => {
    const gpu = await driver.launchIdle();
    const { release } = await driver.lend(gpu);
    await gpu.handle.signal(drain, { now: false, reason: "enough" });
    await gpu.until("draining");
    await eventually("its history is long", async () => {
      await refuseAnother(gpu);
      return Number((await gpu.handle.describe()).historyLength) > 100;
    });
    await release("completed");
    assert.equal((await gpu.until("stopped")).reason, "enough");
  });
});
