import assert from "node:assert/strict";
import { type PolicySettings, plan } from "../../src/gpus/policy.ts";
import { addRequest, applyChange, createPool, type PoolGpu, type PoolState } from "../../src/gpus/pool.ts";
import type { LeaseRequest } from "../../src/gpus/types.ts";

const NOW = 1_000_000;
const settings: PolicySettings = { preLaunchMs: { min: 15_000, max: 30_000 }, lifetimeMs: 7_200_000 };
const NOTHING = { assign: [], launch: 0, growAt: [], keep: [], drain: [] };
const half = () => 0.5;

function request(jobId: string, overrides: Partial<LeaseRequest> = {}): LeaseRequest {
  return {
    jobId,
    attempt: 1,
    tenant: "default",
    priority: "normal",
    completeBy: NOW + 600_000,
    kind: "csm",
    expectedSeconds: 10,
    ...overrides,
  };
}

function poolWith({
  jobs = [],
  gpus = [],
  max = 4,
}: {
  jobs?: LeaseRequest[];
  gpus?: Partial<PoolGpu>[];
  max?: number;
}) {
  const pool: PoolState = { ...createPool("media:fast", { min: 0, max }, NOW), censusAt: NOW };
  for (const job of jobs) addRequest(pool, job, NOW);
  gpus.forEach((gpu, index) => {
    const view = { type: "media:fast", since: NOW, startedAt: NOW, expiresAt: NOW + 7_200_000, sequence: 1 };
    applyChange(pool, { ...view, gpuId: `gpu-${index}`, state: "idle", ...gpu });
  });
  return pool;
}

const decide = (pool: PoolState, now = NOW) => plan(pool, now, settings, half);

describe("the plan of a pool", () => {
  it("launches the first GPU at once and each further one after a random wait", () => {
    const jobs = ["a", "b"].map((jobId) => request(jobId, { expectedSeconds: 60 }));
    const pool = poolWith({ jobs });
    const first = decide(pool);
    assert.equal(first.launch, 1);
    assert.deepEqual(first.growAt, [NOW + 22_500]);
    const second = poolWith({ jobs, gpus: [{ state: "launching" }] });
    second.growAt = first.growAt;
    assert.equal(decide(second).launch, 0);
    assert.equal(decide(second, NOW + 22_500).launch, 1);
  });

  it("launches without a wait what three quarters of the queue need", () => {
    const jobs = Array.from({ length: 8 }, (_, index) => request(`${index}`, { expectedSeconds: 60 }));
    assert.equal(decide(poolWith({ jobs, max: 16 })).launch, 6);
  });

  it("launches a further GPU when its wait is over and it is still needed", () => {
    const jobs = ["a", "b"].map((jobId) => request(jobId, { expectedSeconds: 60 }));
    const pool = poolWith({ jobs, gpus: [{ state: "launching" }] });
    pool.growAt = [NOW];
    assert.equal(decide(pool).launch, 1);
    const served = poolWith({ jobs: [request("a")], gpus: [{ state: "launching" }] });
    served.growAt = [NOW];
    assert.equal(decide(served).launch, 0);
  });

  it("never launches beyond the limit, nor before its first census, nor while paused", () => {
    const jobs = [request("a"), request("b"), request("c")];
    const full = poolWith({ jobs, gpus: [{ state: "leased" }, { state: "stopping" }], max: 2 });
    full.growAt = [NOW, NOW];
    assert.equal(decide(full).launch, 0);
    const fresh = poolWith({ jobs });
    delete fresh.censusAt;
    assert.equal(decide(fresh).launch, 0);
    const paused = poolWith({ jobs, gpus: [{}] });
    paused.paused = true;
    assert.deepEqual(decide(paused), NOTHING);
  });

  it("serves a higher priority first, and the earliest deadline inside one", () => {
    const jobs = [
      request("late"),
      request("early", { completeBy: NOW + 60_000 }),
      request("low", { priority: "low", completeBy: NOW + 1000 }),
      request("high", { priority: "high" }),
    ];
    const gpus = [{}, {}, {}];
    const served = decide(poolWith({ jobs, gpus })).assign.map(({ jobId }) => jobId);
    assert.deepEqual(served, ["high", "early", "late"]);
  });

  it("takes the most recently used idle GPU, so that the others can time out", () => {
    const gpus = [{ since: NOW - 5000 }, { since: NOW - 1000 }, { since: NOW - 9000 }];
    assert.deepEqual(decide(poolWith({ jobs: [request("a")], gpus })).assign, [
      { jobId: "a", attempt: 1, gpuId: "gpu-1" },
    ]);
  });

  it("gives no job a GPU that ends before the job is expected to", () => {
    const pool = poolWith({ jobs: [request("a", { expectedSeconds: 120 })], gpus: [{ expiresAt: NOW + 60_000 }] });
    assert.deepEqual(decide(pool).assign, []);
  });

  it("gives no GPU to a job whose deadline has passed", () => {
    assert.deepEqual(decide(poolWith({ jobs: [request("a", { completeBy: NOW })], gpus: [{}] })).assign, []);
  });
});
