import assert from "node:assert/strict";
import { learnArrival, learnService, MAX_KINDS } from "../../src/gpus/estimates.ts";
import { adaptiveIdleMs } from "../../src/gpus/idleTimeout.ts";
import { type PolicySettings, plan } from "../../src/gpus/policy.ts";
import { addRequest, applyChange, confirmAssignment, createPool, type PoolState } from "../../src/gpus/pool.ts";
import { statusOf } from "../../src/gpus/queueForecast.ts";
import { MAX_TENANTS } from "../../src/gpus/shares.ts";
import type { GpuChange, GpuState, LeaseRequest } from "../../src/gpus/types.ts";

const NOW = 1_800_000_000_000;
const settings: PolicySettings = { preLaunchMs: { min: 20_000, max: 20_000 }, lifetimeMs: 7_200_000 };

function emptyPool(limits = { min: 0, max: 2 }): PoolState {
  return { ...createPool("media:fast", limits, NOW), censusAt: NOW };
}

function ask(pool: PoolState, jobId: string, more: Partial<LeaseRequest> = {}, now = NOW): void {
  const job = { jobId, attempt: 1, tenant: "default", priority: "normal" as const, completeBy: now + 3_600_000 };
  addRequest(pool, { ...job, kind: "csm", expectedSeconds: 100, ...more }, now);
}

function change(pool: PoolState, state: GpuState, more: Partial<GpuChange> = {}, now = NOW): void {
  const sequence = (pool.gpus[0]?.sequence ?? 0) + 1;
  const view = { gpuId: "gpu-1", type: pool.type, since: now, startedAt: NOW, expiresAt: NOW + 7_200_000 };
  applyChange(pool, { ...view, state, sequence, ...more });
}

function lease(pool: PoolState, jobId: string): string {
  const leaseId = `${jobId}/1@gpu-1`;
  ask(pool, jobId);
  change(pool, "idle");
  confirmAssignment(pool, "gpu-1", { leaseId, jobId }, NOW);
  return leaseId;
}

const outlook = (pool: PoolState, now = NOW) => statusOf(pool, now, settings).queue;

describe("what a waiting job is told", () => {
  it("is that a GPU starts, with the time that is left of it", () => {
    const pool = emptyPool();
    change(pool, "launching");
    ask(pool, "a");
    const told = { jobId: "a", position: 1, waitingFor: "gpu_starting", etaSeconds: 30 };
    assert.deepEqual(outlook(pool, NOW + 10_000), [told]);
  });

  it("is that GPUs are busy, or that no more are allowed, with the time until one is free", () => {
    const pool = emptyPool();
    lease(pool, "runs");
    ask(pool, "a", { expectedSeconds: 20 });
    const told = { jobId: "a", position: 1, waitingFor: "gpu_busy", etaSeconds: 30 };
    assert.deepEqual(outlook(pool, NOW + 70_000), [told]);
    pool.limits.max = 1;
    assert.deepEqual(outlook(pool, NOW + 70_000), [{ ...told, waitingFor: "gpu_limit" }]);
  });

  it("is that the pool is paused, without a time", () => {
    const pool = { ...emptyPool(), paused: true };
    ask(pool, "a");
    assert.deepEqual(outlook(pool), [{ jobId: "a", position: 1, waitingFor: "paused" }]);
  });

  it("is that the provider fails, until a launch succeeds; it is asked again ever more seldom", () => {
    const pool = emptyPool();
    ask(pool, "a");
    for (const backoffMs of [10_000, 20_000, 40_000]) {
      change(pool, "launching");
      change(pool, "stopping");
      change(pool, "stopped");
      assert.deepEqual(outlook(pool), [{ jobId: "a", position: 1, waitingFor: "provider_unavailable" }]);
      const decided = plan(pool, NOW, settings, Math.random);
      assert.deepEqual([decided.launch, decided.wakeAt], [0, NOW + backoffMs]);
      assert.equal(plan(pool, NOW + backoffMs, settings, Math.random).launch, 1);
    }
    change(pool, "launching");
    change(pool, "idle");
    assert.equal(pool.launchFailures, undefined);
  });

  it("is found out for 5,000 jobs, whose state stays under 1 MB", () => {
    // As much of everything as there can be.
    const pool = emptyPool({ min: 0, max: 500 });
    for (let index = 0; index < 5000; index += 1) {
      const jobId = `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`;
      ask(pool, jobId, { tenant: `tenant ${index % 1000}` }, NOW + index);
    }
    for (let kind = 0; kind < 200; kind += 1) learnService(pool.learnt, `kind ${kind}`, 1000, 900, NOW);
    assert.equal(pool.learnt.kinds.length, MAX_KINDS);
    pool.growAt = plan(pool, NOW, settings, Math.random).growAt;
    pool.shares = Array.from({ length: MAX_TENANTS }, (_, index) => ({
      tenant: `tenant ${index}`,
      lead: 1000 + index,
    }));
    const bytes = JSON.stringify(pool).length;
    assert.ok(bytes < 1_000_000, `${bytes} bytes`);
    assert.equal(outlook(pool, NOW + 10_000).length, 5000);
  });
});

describe("what a pool learns", () => {
  it("is how long jobs take: one that cannot end in time gets no GPU any more", () => {
    const pool = emptyPool();
    const released = lease(pool, "first");
    change(pool, "idle", { released, servedSeconds: 300 }, NOW + 300_000);
    const now = NOW + 300_000;
    ask(pool, "hopeless", { completeBy: now + 200_000 }, now);
    assert.deepEqual(plan(pool, now, settings, Math.random).assign, []);
    ask(pool, "possible", { completeBy: now + 400_000 }, now);
    assert.deepEqual(
      plan(pool, now, settings, Math.random).assign.map(({ jobId }) => jobId),
      ["possible"],
    );
  });

  it("is how often jobs come: the adaptive idle timeout is between a launch and the fixed one", () => {
    const pool = emptyPool();
    assert.equal(adaptiveIdleMs(pool, NOW, 300_000), 300_000);
    for (let job = 0; job < 100; job += 1) learnArrival(pool.learnt, NOW);
    assert.equal(adaptiveIdleMs(pool, NOW, 300_000), 72_000);
    for (let job = 0; job < 1000; job += 1) learnArrival(pool.learnt, NOW);
    assert.equal(adaptiveIdleMs(pool, NOW, 300_000), 40_000);
  });
});

describe("GPUs that are kept warm", () => {
  it("are launched without a job, and their managers are told once", () => {
    const pool = emptyPool({ min: 1, max: 2 });
    assert.equal(plan(pool, NOW, settings, Math.random).launch, 1);
    change(pool, "launching");
    change(pool, "idle");
    assert.deepEqual(plan(pool, NOW, settings, Math.random).keep, [{ gpuId: "gpu-1", kept: true }]);
    pool.gpus[0]!.kept = true;
    const decided = plan(pool, NOW, { ...settings, adaptiveIdleMs: 300_000 }, Math.random);
    assert.deepEqual([decided.launch, decided.keep, decided.drain], [0, [], []]);
    pool.limits.min = 0;
    assert.deepEqual(plan(pool, NOW, settings, Math.random).keep, [{ gpuId: "gpu-1", kept: false }]);
  });
});

describe("tenants", () => {
  it("take turns by weight, though one of them asked first for everything", () => {
    const pool = emptyPool({ min: 0, max: 12 });
    for (let job = 0; job < 20; job += 1) ask(pool, `many ${job}`, { tenant: "many" });
    for (let job = 0; job < 20; job += 1) ask(pool, `few ${job}`, { tenant: "few", weight: 2 });
    for (let gpu = 0; gpu < 12; gpu += 1) change(pool, "idle", { gpuId: `gpu-${gpu}`, sequence: 1 });
    const { assign } = plan(pool, NOW, settings, Math.random);
    assert.equal(assign.filter(({ jobId }) => jobId.startsWith("few")).length, 8);
  });
});
