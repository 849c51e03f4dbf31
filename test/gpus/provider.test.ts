import assert from "node:assert/strict";
import { type PolicySettings, plan } from "../../src/gpus/policy.ts";
import { addRequest, applyChange, createPool, type PoolState } from "../../src/gpus/pool.ts";
import { noticeProvider } from "../../src/gpus/provider.ts";
import { statusOf } from "../../src/gpus/queueForecast.ts";
import type { GpuState, ProviderTrouble } from "../../src/gpus/types.ts";

const NOW = 1_800_000_000_000;
const settings: PolicySettings = { preLaunchMs: { min: 20_000, max: 20_000 }, lifetimeMs: 7_200_000 };
const refused: ProviderTrouble = { state: "refused", reason: "Comput3 /workloads answered 401: Invalid API key" };
const broke: ProviderTrouble = { state: "no_balance", reason: "Comput3 /launch answered 402: (an empty answer)" };
const away: ProviderTrouble = { state: "unreachable", reason: "Comput3 /launch answered 503: Error" };
const full: ProviderTrouble = { state: "failing", reason: "Comput3 /launch answered 409: no GPU is free" };

describe("what a pool knows of the provider", () => {
  let pool: PoolState;
  beforeEach(() => {
    pool = { ...createPool("media:fast", { min: 0, max: 2 }, NOW), censusAt: NOW };
  });

  const ask = (jobId = "a") => {
    const request = { jobId, attempt: 1, tenant: "default", priority: "normal" as const, kind: "csm" };
    addRequest(pool, { ...request, completeBy: NOW + 3_600_000, expectedSeconds: 100 }, NOW);
  };
  let sequence = 0;
  const change = (state: GpuState, gpuId = "gpu-1", at = NOW) => {
    sequence += 1;
    const view = { gpuId, type: pool.type, since: at, startedAt: NOW, expiresAt: NOW + 7_200_000 };
    applyChange(pool, { ...view, state, sequence });
  };
  const look = (at: number, found: { trouble?: ProviderTrouble } = {}) => noticeProvider(pool, { at, ...found });
  const launches = (now = NOW) => plan(pool, now, settings, Math.random).launch;
  const told = (now = NOW) => statusOf(pool, now, settings).queue[0];

  for (const trouble of [refused, broke, away, full]) {
    it(`is told to who waits, without a time, from the first call that failed: ${trouble.state}`, () => {
      ask();
      change("launching");
      assert.equal(told()?.waitingFor, "gpu_starting");
      noticeProvider(pool, { trouble: trouble, at: NOW + 100 });
      assert.deepEqual(told(), { jobId: "a", position: 1, waitingFor: "provider_unavailable" });
      assert.deepEqual(statusOf(pool, NOW, settings).provider, { ...trouble, since: NOW + 100 });
      noticeProvider(pool, { trouble: { ...trouble, reason: "said otherwise" }, at: NOW + 200 });
      assert.deepEqual(pool.provider, { ...trouble, reason: "said otherwise", since: NOW + 100, at: NOW + 200 });
      change("starting");
      assert.equal(pool.provider, undefined);
      assert.equal(told()?.waitingFor, "gpu_starting");
    });
  }

  for (const trouble of [refused, broke]) {
    it(`keeps it from launching more, until a look finds it well, or for five minutes: ${trouble.state}`, () => {
      ask();
      assert.equal(launches(), 1);
      noticeProvider(pool, { trouble: trouble, at: NOW });
      assert.deepEqual([launches(), launches(NOW + 299_999), launches(NOW + 300_000)], [0, 0, 1]);
      look(NOW + 60_000, { trouble });
      assert.equal(launches(NOW + 300_000), 0);
      look(NOW + 120_000);
      assert.deepEqual([pool.provider, launches(NOW + 120_000)], [undefined, 1]);
    });
  }

  it("is not forgotten by a look while an instance is being launched, whose next try will tell", () => {
    ask();
    change("launching");
    noticeProvider(pool, { trouble: broke, at: NOW });
    look(NOW + 60_000);
    assert.equal(told()?.waitingFor, "provider_unavailable");
    change("stopping", "gpu-1", NOW + 61_000);
    change("stopped", "gpu-1", NOW + 61_000);
    look(NOW + 120_000);
    assert.deepEqual([pool.provider, pool.launchFailures, launches(NOW + 120_000)], [undefined, undefined, 1]);
  });

  it("is what looks find where launches do not fail: a look from before a failed call says nothing", () => {
    look(NOW, { trouble: away });
    assert.equal(pool.provider?.state, "unreachable");
    look(NOW + 60_000);
    assert.equal(pool.provider, undefined);
  });

  it("is not what a look found that began before a call failed", () => {
    noticeProvider(pool, { trouble: refused, at: NOW + 61_000 });
    look(NOW + 60_500);
    assert.equal(pool.provider?.state, "refused");
  });

  it("leaves who waits for a busy GPU its time, and takes none from GPUs that may not come", () => {
    for (const [jobId, gpuId] of [
      ["runs", "gpu-1"],
      ["waits", "gpu-2"],
    ] as const) {
      ask(jobId);
      change(gpuId === "gpu-1" ? "idle" : "launching", gpuId);
    }
    const [gpu] = pool.gpus;
    Object.assign(gpu!, { state: "leased", expectedMs: 10_000, lease: { leaseId: "l", jobId: "runs" } });
    pool.queue = pool.queue.filter(({ jobId }) => jobId === "waits");
    ask("later");
    noticeProvider(pool, { trouble: away, at: NOW });
    const { queue } = statusOf(pool, NOW, settings);
    assert.deepEqual(
      queue.map(({ waitingFor, etaSeconds }) => [waitingFor, etaSeconds]),
      [
        ["gpu_limit", 10],
        ["provider_unavailable", undefined],
      ],
    );
  });

  it("is no limit of ours, though instances that cannot be stopped take all the room", () => {
    ask();
    for (const gpuId of ["gpu-1", "gpu-2"]) {
      change("launching", gpuId);
      change("stopping", gpuId);
    }
    noticeProvider(pool, { trouble: refused, at: NOW });
    assert.equal(told()?.waitingFor, "provider_unavailable");
  });
});
