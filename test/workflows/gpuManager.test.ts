import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { assign, drain, leaseGranted, leaseLost, releaseLease, renewLease } from "../../src/contracts/signals.ts";
import type { GpuView, Lease } from "../../src/gpus/types.ts";
import { eventually } from "../support/eventually.ts";
import type { TestStack } from "../support/stack.ts";
import { type Driver, type Gpu, LIMITED, startDriven, TYPE } from "./managers.ts";

describe("the manager of an instance", () => {
  let stack: TestStack;
  let driver: Driver;
  before(async () => {
    ({ stack, driver } = await startDriven());
  });
  afterEach(() => driver.settle());
  after(() => stack.close());

  const calls = (path: string) =>
    stack.simulator.calls().filter((call) => call.service === "comput3" && call.path.endsWith(path));
  const bootingUntilStopped = ["starting", "stopping", "stopped"];
  const idleUntilStopped = ["starting", "idle", "stopping", "stopped"];
  const drainedUntilStopped = ["starting", "idle", "draining", "stopping", "stopped"];

  async function untilStopped(gpu: Gpu, states: string[]): Promise<GpuView> {
    const view = await gpu.until("stopped");
    assert.deepEqual(await gpu.states(), states);
    for (const { why } of gpu.instances()) assert.notEqual(why, undefined, "an instance still runs");
    return view;
  }

  describe("that launches", () => {
    it("goes on to starting and to idle, and says what it has", async () => {
      const gpu = await driver.launchIdle();
      assert.deepEqual(await gpu.states(), ["starting", "idle"]);
      const [instance] = gpu.instances();
      const view = await gpu.view();
      assert.equal(view?.workload, instance?.workload);
      assert.equal(view?.node, instance?.node);
      assert.equal(view?.expiresAt, instance!.expires * 1000);
      assert.equal(view?.usage?.paidFrom, instance!.created * 1000);
    });

    it("stops when every launch is refused, and says why", async () => {
      const before = calls("/launch").length;
      stack.simulator.fault({ service: "comput3", path: "/launch", action: "status" });
      const gpu = await driver.launch();
      const { reason } = await untilStopped(gpu, ["stopping", "stopped"]);
      assert.match(reason ?? "", /^could not be started: Comput3 \/launch answered 503/);
      assert.equal(calls("/launch").length - before, 3);
      assert.deepEqual(gpu.instances(), []);
    });

    it("stops when there are already as many instances as there may be", async () => {
      await (await driver.launch({}, { type: LIMITED })).until("idle");
      const gpu = await driver.launch({}, { type: LIMITED });
      const { reason } = await gpu.until("stopped");
      assert.equal(reason, `could not be started: there are already 1 instances of ${LIMITED}`);
      assert.deepEqual(gpu.instances(), []);
    });

    it("adopts what an answer that got lost has launched", async () => {
      const before = calls("/launch").length;
      stack.simulator.fault({ service: "comput3", path: "/launch", action: "drop_reply", times: 1 });
      const gpu = await driver.launchIdle();
      assert.equal(calls("/launch").length - before, 1);
      assert.equal((await gpu.view())?.workload, gpu.instances()[0]?.workload);
    });

    it("stops when it is drained while no answer comes, and rents nothing", async () => {
      stack.simulator.fault({ service: "comput3", path: "/launch", action: "hang" });
      const gpu = await driver.launch();
      await gpu.until("launching");
      await gpu.handle.signal(drain, { now: false, reason: "not needed" });
      const { reason } = await untilStopped(gpu, ["stopping", "stopped"]);
      assert.equal(reason, "not needed");
      assert.deepEqual(gpu.instances(), []);
    });

    it("stops what an answer brings that comes after the drain", async () => {
      const before = calls("/workloads").length;
      stack.simulator.fault({ service: "comput3", path: "/launch", action: "delay", delay_ms: 500 });
      const gpu = await driver.launch();
      await eventually("the launch is under way", () => calls("/workloads").length > before);
      await gpu.handle.signal(drain, { now: false, reason: "not needed" });
      await untilStopped(gpu, ["stopping", "stopped"]);
      assert.deepEqual(
        gpu.instances().map(({ why }) => why),
        ["stopped"],
      );
    });
  });

  describe("that starts", () => {
    const bootNever = () => stack.simulator.fault({ service: "node", action: "status" });

    it("stops when the node does not answer in time", async () => {
      bootNever();
      const gpu = await driver.launch({ readyTimeoutMs: 300 });
      const { reason, node, usage } = await untilStopped(gpu, bootingUntilStopped);
      assert.equal(reason, `could not be started: node ${node} of ${gpu.gpuId} did not answer in time`);
      assert.ok((usage?.bootMs ?? 0) > 0 && usage?.busyMs === 0, "what it cost was the boot");
      assert.equal(gpu.instances()[0]?.why, "stopped");
    });

    it("stops when it is drained, and when it is cancelled in the Web UI", async () => {
      bootNever();
      const [drained, cancelled] = [await driver.launch(), await driver.launch()];
      for (const gpu of [drained, cancelled]) await gpu.until("starting");
      await drained.handle.signal(drain, { now: false, reason: "not needed" });
      await cancelled.handle.cancel();
      assert.equal((await untilStopped(drained, bootingUntilStopped)).reason, "not needed");
      assert.equal((await untilStopped(cancelled, bootingUntilStopped)).reason, "cancelled in Temporal");
    });
  });

  describe("that is idle", () => {
    it("lends its instance, and is idle again when it is given back", async () => {
      const gpu = await driver.launchIdle();
      const { lease, leaseId, jobId, release } = await driver.lend(gpu);
      const { node = "", expiresAt } = (await gpu.view())!;
      const expected: Partial<Lease> = { leaseId, jobId, gpuId: gpu.gpuId, gpuType: TYPE, node, expiresAt };
      for (const [name, value] of Object.entries(expected)) assert.equal(lease[name as keyof Lease], value);
      assert.ok((await fetch(`${lease.nodeUrl}/`, { headers: { "X-C3-API-KEY": stack.simulator.apiKey } })).ok);
      const at = await release("completed");
      const { servedSeconds, state } = await gpu.untilTold("the release", ({ released }) => released === leaseId);
      assert.equal(state, "idle");
      assert.equal(servedSeconds, (at - lease.grantedAt) / 1000);
      assert.equal((await gpu.until("idle")).lease, undefined);
    });

    it("lends it again after a run that ended badly and left the node idle", async () => {
      const gpu = await driver.launchIdle();
      const first = await driver.lend(gpu);
      await first.release("clean");
      const told = await gpu.untilTold("the release", ({ released }) => released === first.leaseId);
      assert.equal(told.servedSeconds, undefined);
      const second = await driver.lend(gpu);
      assert.ok(first.lease.before.bootMs > 0 && second.lease.before.bootMs === 0, "the first job pays for the boot");
      assert.equal((await gpu.view())?.usage?.jobs, 2);
    });

    it("grants a lease once, however often it is told to", async () => {
      const gpu = await driver.launchIdle();
      const { job, jobId, leaseId } = await driver.lend(gpu);
      await gpu.handle.signal(assign, { leaseId, jobId });
      const other = await driver.offer(gpu);
      await gpu.untilTold("the refusal", ({ refused }) => refused === other.leaseId);
      assert.equal((await job.received(leaseGranted)).length, 1);
      assert.deepEqual(await other.job.received(leaseGranted), []);
      assert.equal((await gpu.view())?.lease?.leaseId, leaseId);
    });

    it("takes the lease back at once when there is no such job", async () => {
      const gpu = await driver.launchIdle();
      const leaseId = "of nobody";
      await gpu.handle.signal(assign, { leaseId, jobId: randomUUID() });
      const { state, lease } = await gpu.untilTold("the release", ({ released }) => released === leaseId);
      assert.deepEqual({ state, lease }, { state: "idle", lease: undefined });
      await driver.lend(gpu);
    });

    for (const [cause, settings, reason] of [
      ["nobody needs it for the idle timeout", { idleTimeoutMs: 200 }, "idle for too long"],
      ["it is old enough", { replaceAfterMs: 200 }, "old enough to be replaced"],
    ] as const) {
      it(`stops when ${cause}`, async () => {
        const gpu = await driver.launch(settings);
        assert.equal((await untilStopped(gpu, idleUntilStopped)).reason, reason);
      });
    }

    it("stops when it is drained, and when it is cancelled in the Web UI", async () => {
      const [drained, cancelled] = [await driver.launchIdle(), await driver.launchIdle()];
      await drained.handle.signal(drain, { now: false, reason: "enough" });
      await cancelled.handle.cancel();
      assert.equal((await untilStopped(drained, idleUntilStopped)).reason, "enough");
      assert.equal((await untilStopped(cancelled, idleUntilStopped)).reason, "cancelled in Temporal");
    });

    for (const action of ["kill_node", "vanish"] as const) {
      it(`stops when its node is gone (${action})`, async () => {
        const gpu = await driver.launchIdle();
        const { node = "" } = (await gpu.view())!;
        stack.simulator.fault({ service: "node", action, node });
        const { reason } = await untilStopped(gpu, idleUntilStopped);
        assert.match(reason ?? "", new RegExp(`^node ${node} (does not answer|is gone from the provider)$`));
      });
    }

    it("does not mind a node that misses one check, nor a provider that does not answer", async () => {
      const gpu = await driver.launchIdle();
      stack.simulator.fault({ service: "node", action: "status", times: 2 });
      stack.simulator.fault({ service: "comput3", action: "html_error" });
      const before = calls("/workloads").length;
      await eventually("it was looked at", () => calls("/workloads").length >= before + 3);
      assert.equal((await gpu.view())?.state, "idle");
    });
  });

  describe("whose instance is lent", () => {
    it("drains when it is told to: lends no more, and stops after the release", async () => {
      const gpu = await driver.launchIdle();
      const { leaseId, lease, release, job } = await driver.lend(gpu);
      await gpu.handle.signal(drain, { now: false, reason: "enough" });
      assert.equal((await gpu.until("draining")).lease?.leaseId, leaseId);
      const late = await driver.offer(gpu);
      await gpu.untilTold("the refusal", ({ refused }) => refused === late.leaseId);
      assert.equal(gpu.instances()[0]?.ended, undefined, "it stopped before the job was done");
      const at = await release("completed");
      assert.equal((await untilStopped(gpu, drainedUntilStopped)).reason, "enough");
      assert.deepEqual(await job.received(leaseLost), []);
      const { servedSeconds } = await gpu.untilTold("the release", ({ released }) => released === leaseId);
      assert.equal(servedSeconds, (at - lease.grantedAt) / 1000);
    });

    it("drains when it is cancelled in the Web UI", async () => {
      const gpu = await driver.launchIdle();
      const { release } = await driver.lend(gpu);
      await gpu.handle.cancel();
      await gpu.until("draining");
      await release("completed");
      assert.equal((await untilStopped(gpu, drainedUntilStopped)).reason, "cancelled in Temporal");
    });

    it("drains when it is old enough", async () => {
      const gpu = await driver.launchIdle({ replaceAfterMs: 1000 });
      const { release, job } = await driver.lend(gpu);
      await gpu.until("draining");
      await release("completed");
      assert.equal((await untilStopped(gpu, drainedUntilStopped)).reason, "old enough to be replaced");
      assert.deepEqual(await job.received(leaseLost), []);
    });

    it("retires it after a run that was not seen to end", async () => {
      const gpu = await driver.launchIdle();
      const { release } = await driver.lend(gpu);
      await release("suspect");
      const { reason } = await untilStopped(gpu, drainedUntilStopped);
      assert.equal(reason, "the job's run failed on it or was not seen to end");
    });

    it("does not mind what is said of a lease that is not the one it granted", async () => {
      const gpu = await driver.launchIdle();
      const { leaseId, release } = await driver.lend(gpu);
      await gpu.handle.signal(releaseLease, { leaseId: "another one", outcome: "suspect", at: Date.now() });
      await release("completed");
      await gpu.untilTold("the release", ({ released }) => released === leaseId);
      assert.deepEqual(await gpu.states(), ["starting", "idle"]);
    });

    it("takes it away at once when an operator wants that, even while it drains", async () => {
      const gpu = await driver.launchIdle();
      const { leaseId, lost } = await driver.lend(gpu);
      await gpu.handle.signal(drain, { now: false, reason: "enough" });
      await gpu.until("draining");
      await gpu.handle.signal(drain, { now: true, reason: "at once" });
      const { nodeFault, reason } = await lost();
      assert.deepEqual({ nodeFault, reason }, { nodeFault: false, reason: "at once" });
      await gpu.untilTold("the release", ({ released }) => released === leaseId);
      assert.equal((await untilStopped(gpu, drainedUntilStopped)).reason, "at once");
    });

    for (const action of ["kill_node", "vanish"] as const) {
      it(`tells the job when the node is gone (${action}), and stops`, async () => {
        const gpu = await driver.launchIdle();
        const { leaseId, lease, lost } = await driver.lend(gpu);
        stack.simulator.fault({ service: "node", action, node: lease.node });
        const loss = await lost();
        assert.equal(loss.leaseId, leaseId);
        assert.equal(loss.nodeFault, true);
        assert.match(loss.reason, new RegExp(`^node ${lease.node} (does not answer|is gone from the provider)$`));
        await gpu.untilTold("the release", ({ released }) => released === leaseId);
        await untilStopped(gpu, idleUntilStopped);
      });
    }

    it("takes it back when the lease is not renewed, and not before", async () => {
      const leaseTimeoutMs = 600;
      const gpu = await driver.launchIdle({ leaseTimeoutMs });
      const { leaseId, lease, lost, job } = await driver.lend(gpu);
      const renewed = await eventually("it is held for longer", async () => {
        const at = Date.now();
        await gpu.handle.signal(renewLease, { leaseId });
        return at - lease.grantedAt > 2 * leaseTimeoutMs ? at : undefined;
      });
      assert.deepEqual(await job.received(leaseLost), []);
      await gpu.handle.signal(renewLease, { leaseId: "another one" });
      const { nodeFault, reason, at } = await lost();
      assert.deepEqual({ nodeFault, reason }, { nodeFault: true, reason: "the lease was not renewed" });
      assert.ok(at >= renewed + leaseTimeoutMs, "too early");
      await untilStopped(gpu, idleUntilStopped);
    });
  });

  describe("that stops", () => {
    it("tries until the provider does not list the instance any more, and lends it to nobody meanwhile", async () => {
      const gpu = await driver.launchIdle();
      const before = calls("/stop").length;
      stack.simulator.fault({ service: "comput3", path: "/stop", action: "status", times: 1 });
      await gpu.handle.signal(drain, { now: false, reason: "enough" });
      await gpu.until("stopping");
      const late = await driver.offer(gpu);
      await untilStopped(gpu, idleUntilStopped);
      await gpu.untilTold("the refusal", ({ refused }) => refused === late.leaseId);
      assert.deepEqual(await late.job.received(leaseGranted), []);
      assert.equal(calls("/stop").length - before, 2);
      assert.equal(gpu.instances()[0]?.why, "stopped");
    });

    it("keeps what the provider says of the end when it must look again whether it came", async () => {
      const gpu = await driver.launchIdle();
      stack.simulator.fault({ service: "comput3", path: "/stop", action: "delay", delay_ms: 500, times: 1 });
      await gpu.handle.signal(drain, { now: true, reason: "enough" });
      await gpu.until("stopping");
      await eventually("it was asked for the list", () => stopIsUnderWay(gpu));
      stack.simulator.fault({ service: "comput3", path: "/workloads", action: "status", times: 1 });
      const { ended } = await gpu.handle.result();
      const [instance] = gpu.instances();
      assert.deepEqual(
        ended.map(({ stoppedAt, refundAmount }) => ({ stoppedAt, refundAmount })),
        [{ stoppedAt: instance!.ended! * 1000, refundAmount: instance!.refundAmount }],
      );
    });

    it("ends when the instance must have ended by itself, though the provider does not answer", async () => {
      const gpu = await driver.launch({}, { lifetimeSeconds: 3 });
      await gpu.until("idle");
      stack.simulator.fault({ service: "comput3", action: "status" });
      await gpu.handle.signal(drain, { now: false, reason: "enough" });
      const { expiresAt } = await gpu.until("stopping");
      const { ended } = await gpu.handle.result();
      assert.ok(Date.now() >= expiresAt, "it ended before the instance");
      assert.deepEqual(
        ended.map(({ stoppedAt }) => stoppedAt),
        [expiresAt],
      );
    });
  });

  async function stopIsUnderWay(gpu: Gpu): Promise<true | undefined> {
    const { since } = (await gpu.view())!;
    return calls("/workloads").some(({ at }) => at >= since) ? true : undefined;
  }
});
