import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { MAX_WAITING, placesOf, shareOut } from "../../src/gpus/places.ts";
import { launchableNodes, type PolicySettings, plan } from "../../src/gpus/policy.ts";
import {
  addRequest,
  applyCensus,
  applyChange,
  confirmAssignment,
  confirmLaunch,
  createPool,
  type PoolState,
  resize,
  withdrawRequest,
} from "../../src/gpus/pool.ts";
import type { GpuChange, LeaseRequest } from "../../src/gpus/types.ts";

const NOW = 1_795_000_000_000;
const TEMPORAL_PAYLOAD_BYTES = 2 * 1024 * 1024;
const settings: PolicySettings = { preLaunchMs: { min: 0, max: 0 }, lifetimeMs: 7_200_000 };
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

  it("puts only so many in order that its state fits into Temporal, and takes others when some have left", () => {
    const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
    for (let index = 0; index < MAX_WAITING; index += 1) addRequest(pool, request(randomUUID()), NOW);
    addRequest(pool, request("late"), NOW);
    assert.equal(pool.queue.length, MAX_WAITING);
    assert.ok(JSON.stringify(pool).length < 0.75 * TEMPORAL_PAYLOAD_BYTES);
    withdrawRequest(pool, pool.queue[0]?.jobId ?? "");
    const missingJobs = [request("late")];
    applyCensus(pool, { at: NOW, limits: { min: 0, max: 4 }, gpus: [], missingJobs, goneJobs: [] }, NOW);
    assert.equal(queued(pool).at(-1), "late");
  });

  describe("shares its places out between tenants", () => {
    const of = (tenant: string, jobId: string = randomUUID()) => ({ ...request(jobId), tenant });
    const many = (tenant: string, count: number) => Array.from({ length: count }, () => of(tenant));
    const poolOf = (...requests: LeaseRequest[][]) => {
      const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
      requests.flat().forEach((one, index) => {
        addRequest(pool, one, NOW + index);
      });
      return pool;
    };
    const places = (pool: PoolState) => Object.fromEntries(placesOf(pool.queue));

    const floods: { name: string; requests: LeaseRequest[][]; expected: Record<string, number> }[] = [
      {
        name: "a small tenant that comes after a flood",
        requests: [many("flood", 5000), many("small", 3)],
        expected: { flood: 4997, small: 3 },
      },
      {
        name: "a second flood",
        requests: [many("flood", 5000), many("other", 5000)],
        expected: { flood: 2500, other: 2500 },
      },
      {
        name: "a small tenant before two floods",
        requests: [many("small", 3), many("flood", 6000), many("other", 6000)],
        expected: { small: 3, flood: 2499, other: 2498 },
      },
      {
        name: "as many tenants as places, and one more",
        requests: [...Array.from({ length: 5000 }, (_, index) => many(`tenant ${index}`, 1)), many("late", 1)],
        expected: Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`tenant ${index}`, 1])),
      },
    ];
    for (const { name, requests, expected } of floods)
      it(name, () => {
        assert.deepEqual(places(poolOf(...requests)), expected);
      });

    it("each keeps its earliest", () => {
      const flood = many("flood", MAX_WAITING);
      const pool = poolOf(flood, many("small", 2));
      const left = new Set(queued(pool));
      const gone = flood.filter(({ jobId }) => !left.has(jobId));
      assert.deepEqual(gone, flood.slice(-2));
    });

    it("a census brings those who have the fewest, the earliest first", () => {
      const known = new Map([["flood", 4999]]);
      const missing = [of("flood", "f1"), of("flood", "f2"), of("small", "s1"), of("small", "s2"), of("tiny", "t1")];
      const brought = shareOut(known, missing).map(({ jobId }) => jobId);
      assert.deepEqual(brought, ["s1", "t1", "s2"]);
      const pool = poolOf(many("flood", 5000));
      const missingJobs = missing.filter(({ jobId }) => brought.includes(jobId));
      applyCensus(pool, { at: NOW, limits: { min: 0, max: 4 }, gpus: [], missingJobs, goneJobs: [] }, NOW);
      assert.deepEqual(places(pool), { flood: 4997, small: 2, tiny: 1 });
    });
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
    applyChange(pool, change("idle", 2));
    assert.deepEqual(queued(pool), []);
    applyChange(pool, change("idle", 3, { refused: lease.leaseId }));
    assert.deepEqual(queued(pool), ["a"]);
  });

  it("does not put back a job that gave its GPU back or was told that it is lost", () => {
    const pool = assignedPool();
    applyChange(pool, change("idle", 2, { released: lease.leaseId }));
    assert.deepEqual([queued(pool), states(pool)], [[], ["idle"]]);
    applyChange(pool, change("stopped", 3));
    assert.deepEqual([queued(pool), states(pool)], [[], []]);
  });

  it("puts a job back at once whose instance stops before it answered the assignment, and only once", () => {
    const pool = assignedPool();
    applyChange(pool, change("stopping", 2));
    assert.deepEqual([queued(pool), states(pool)], [["a"], ["stopping"]]);
    applyChange(pool, change("stopping", 3, { refused: lease.leaseId }));
    applyChange(pool, change("stopped", 4));
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

  it("does not take up again an instance that has ended, though a census still lists it", () => {
    const pool = assignedPool();
    applyChange(pool, change("stopped", 2, { since: NOW + 50_000 }));
    const stale = { at: NOW + 55_000, limits: { min: 0, max: 4 }, missingJobs: [], goneJobs: [] };
    applyCensus(pool, { ...stale, gpus: [change("stopping", 0)] }, stale.at);
    assert.deepEqual(states(pool), []);
  });

  it("is paused by a census, unless an operator has just said otherwise", () => {
    const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
    const paused = { at: NOW, limits: { min: 0, max: 4 }, paused: true, gpus: [], missingJobs: [], goneJobs: [] };
    applyCensus(pool, paused, NOW);
    assert.equal(pool.paused, true);
    resize(pool, { paused: false, max: 3 });
    applyCensus(pool, paused, NOW);
    assert.deepEqual([pool.paused, pool.limits], [false, { min: 0, max: 3 }]);
  });

  it("learns from the manager whether its instance is kept warm, also when the pool forgot that it said so", () => {
    const pool = createPool("media:fast", { min: 0, max: 4 }, NOW);
    const view = change("idle", 0, { kept: true });
    applyCensus(pool, { at: NOW, limits: pool.limits, gpus: [view], missingJobs: [], goneJobs: [] }, NOW);
    assert.deepEqual(plan(pool, NOW, settings, () => 0).keep, [{ gpuId: "gpu-1", kept: false }]);
    applyChange(pool, change("idle", 1));
    assert.deepEqual(plan(pool, NOW, settings, () => 0).keep, []);
  });
});

describe("nodes of one's own", () => {
  function poolOf(nodes: string[]): PoolState {
    const pool = createPool("media:fast", { min: 0, max: nodes.length }, NOW);
    applyCensus(pool, { at: NOW, limits: pool.limits, nodes, gpus: [], missingJobs: [], goneJobs: [] }, NOW);
    addRequest(pool, request("a"), NOW);
    return pool;
  }
  /** The node is used, and proves dead. */
  function fail(pool: PoolState, node: string, at: number): void {
    const gpuId = `gpu-${at}`;
    confirmLaunch(pool, { gpuId, type: pool.type, node, expiresAt: NOW + 1e9 }, at);
    applyChange(pool, { ...change("stopped", 1, { since: at, node }), gpuId });
  }

  it("are used one after another; a dead one is benched and tried again, ever more seldom", () => {
    const pool = poolOf(["one", "two"]);
    fail(pool, "one", NOW);
    assert.deepEqual(launchableNodes(pool, NOW), ["two"]);
    assert.equal(plan(pool, NOW, settings, () => 0).launch, 1);
    fail(pool, "two", NOW);
    const { launch, wakeAt } = plan(pool, NOW, settings, () => 0);
    assert.deepEqual([launch, wakeAt], [0, NOW + 10_000]);
    assert.deepEqual(launchableNodes(pool, NOW + 10_000), ["one", "two"]);
    fail(pool, "one", NOW + 10_000);
    assert.deepEqual(launchableNodes(pool, NOW + 20_000), ["two"]);
    assert.deepEqual(launchableNodes(pool, NOW + 30_000), ["one", "two"]);
  });

  it("are trusted again once a job has ended well on them", () => {
    const pool = poolOf(["one"]);
    fail(pool, "one", NOW);
    confirmLaunch(pool, { gpuId: "gpu-1", type: pool.type, node: "one", expiresAt: NOW + 1e9 }, NOW + 10_000);
    applyChange(pool, change("idle", 1, { node: "one" }));
    confirmAssignment(pool, "gpu-1", lease, NOW + 10_000);
    applyChange(pool, change("idle", 2, { node: "one", released: lease.leaseId, servedSeconds: 1 }));
    assert.deepEqual(pool.benched, []);
  });
});
