import assert from "node:assert/strict";
import {
  addRequest,
  applyCensus,
  applyChange,
  confirmAssignment,
  createPool,
  type PoolState,
  withdrawRequest,
} from "../../src/gpus/pool.ts";
import type { GpuChange, LeaseRequest } from "../../src/gpus/types.ts";

const NOW = 1_000_000;
const lease = { leaseId: "a/1@gpu-1", jobId: "a" };

function request(jobId: string, attempt = 1): LeaseRequest {
  const completeBy = NOW + 600_000;
  return {
    jobId,
    attempt,
    tenant: "default",
    priority: "normal",
    completeBy,
    kind: "csm",
    expectedSeconds: 10,
    weight: 1,
  };
}

function change(state: GpuChange["state"], sequence: number, more: Partial<GpuChange> = {}): GpuChange {
  const view = { gpuId: "gpu-1", type: "media:fast", since: NOW, startedAt: NOW, expiresAt: NOW + 7_200_000 };
  return { ...view, state, sequence, ...more };
}

/** A pool whose only GPU was assigned to job a. */
function assignedPool(): PoolState {
  const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
  addRequest(pool, request("a"), NOW);
  applyChange(pool, change("idle", 1));
  confirmAssignment(pool, "gpu-1", lease, NOW);
  return pool;
}

const queued = (pool: PoolState) => pool.queue.map((job) => job.jobId);
const states = (pool: PoolState) => pool.gpus.map((gpu) => gpu.state);

describe("what a pool knows", () => {
  it("takes a request once, however often it comes", () => {
    const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
    addRequest(pool, request("a"), NOW);
    addRequest(pool, request("a"), NOW + 5);
    assert.deepEqual(queued(pool), ["a"]);
    assert.equal(pool.queue[0]?.queuedAt, NOW);
  });

  it("moves a job from the queue to its GPU when the assignment is confirmed", () => {
    const pool = assignedPool();
    assert.deepEqual(queued(pool), []);
    assert.deepEqual(pool.gpus[0]?.lease, lease);
    addRequest(pool, request("a"), NOW);
    assert.deepEqual(queued(pool), [], "a repeated request of a job that has its GPU");
    addRequest(pool, request("a", 2), NOW);
    assert.deepEqual(queued(pool), ["a"], "a request after the GPU was lost");
  });

  it("ignores a change that is older than what it knows", () => {
    const pool = assignedPool();
    applyChange(pool, change("idle", 1));
    assert.deepEqual(states(pool), ["leased"]);
  });

  it("puts a refused job back, even when the manager spoke before it had read the assignment", () => {
    const pool = assignedPool();
    applyChange(pool, change("stopping", 2));
    assert.deepEqual(queued(pool), []);
    applyChange(pool, change("stopping", 3, { refused: lease.leaseId }));
    assert.deepEqual(queued(pool), ["a"]);
  });

  it("does not put back a job that gave its GPU back or was told that it is lost", () => {
    const pool = assignedPool();
    applyChange(pool, change("idle", 2, { released: lease.leaseId }));
    assert.deepEqual([queued(pool), states(pool)], [[], ["idle"]]);
    applyChange(pool, change("stopped", 3));
    assert.deepEqual([queued(pool), states(pool)], [[], []]);
  });

  it("puts a job back whose instance ended before it answered the assignment", () => {
    const pool = assignedPool();
    applyChange(pool, change("stopped", 2));
    assert.deepEqual([queued(pool), states(pool)], [["a"], []]);
  });

  it("forgets a withdrawn job", () => {
    const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
    addRequest(pool, request("a"), NOW);
    withdrawRequest(pool, "a");
    assert.deepEqual(queued(pool), []);
  });

  it("learns from a census what it did not hear, and forgets what is gone", () => {
    const pool = assignedPool();
    addRequest(pool, request("gone"), NOW);
    const at = NOW + 60_000;
    const unknown = { ...change("idle", 0), gpuId: "gpu-2" };
    applyCensus(
      pool,
      { at, limits: { min: 0, max: 2 }, gpus: [unknown], missingJobs: [request("b")], goneJobs: ["gone"] },
      at,
    );
    assert.deepEqual(
      pool.gpus.map((gpu) => gpu.gpuId),
      ["gpu-2"],
    );
    assert.deepEqual(queued(pool), ["b"]);
    assert.equal(pool.limits.max, 2);
  });

  it("does not believe a census against what happened after it", () => {
    const pool = assignedPool();
    applyCensus(pool, { at: NOW + 1, limits: { min: 0, max: 4 }, gpus: [], missingJobs: [], goneJobs: [] }, NOW + 1);
    assert.deepEqual(states(pool), ["leased"]);
  });
});
