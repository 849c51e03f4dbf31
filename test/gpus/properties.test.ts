import assert from "node:assert/strict";
import fc from "fast-check";
import { type Plan, type PolicySettings, plan } from "../../src/gpus/policy.ts";
import { addRequest, applyChange, confirmAssignment, createPool, type PoolState } from "../../src/gpus/pool.ts";
import { statusOf } from "../../src/gpus/queueForecast.ts";
import type { GpuChange, GpuState, LeaseRequest } from "../../src/gpus/types.ts";

const START = 1_000_000;
const settings: PolicySettings = { preLaunchMs: { min: 15_000, max: 30_000 }, lifetimeMs: 7_200_000 };

interface Step {
  /** Seconds since the step before. */
  after: number;
  kind: "ask" | "ready" | "release" | "refuse" | "lose" | "wait";
  /** Which job or GPU it is about. */
  which: number;
  seconds: number;
  priority: LeaseRequest["priority"];
  tenant: string;
  completeIn: number;
}

const steps = fc.array(
  fc.record<Step>({
    after: fc.integer({ min: 0, max: 90 }),
    kind: fc.constantFrom("ask", "ask", "ask", "ready", "ready", "release", "release", "refuse", "lose", "wait"),
    which: fc.nat(30),
    seconds: fc.integer({ min: 1, max: 400 }),
    priority: fc.constantFrom("low", "normal", "high"),
    tenant: fc.constantFrom("a", "b", "c"),
    completeIn: fc.integer({ min: 60, max: 7200 }),
  }),
  { maxLength: 120 },
);

/** A pool with managers that do what the steps say; it takes part in no decision. */
function createWorld(max: number) {
  const pool: PoolState = { ...createPool("media:fast", { min: 0, max }, START), censusAt: START };
  const sequences = new Map<string, number>();
  let now = START;
  let seed = 1;
  const random = () => {
    seed = (seed * 16_807) % 2_147_483_647;
    return seed / 2_147_483_647;
  };

  const change = (gpuId: string, state: GpuState, more: Partial<GpuChange> = {}) => {
    const known = pool.gpus.find((gpu) => gpu.gpuId === gpuId);
    const sequence = (sequences.get(gpuId) ?? 0) + 1;
    sequences.set(gpuId, sequence);
    const startedAt = known?.startedAt ?? now;
    const view = { gpuId, type: pool.type, state, since: now, startedAt, expiresAt: startedAt + settings.lifetimeMs };
    applyChange(pool, { ...view, sequence, ...more });
  };

  const one = (which: number, ...states: GpuState[]) => {
    const found = pool.gpus.filter(({ state }) => states.includes(state));
    return found[which % Math.max(1, found.length)];
  };

  return {
    pool,
    get now() {
      return now;
    },
    /** Decides and does what was decided. */
    decide(): Plan {
      const decided = plan(pool, now, settings, random);
      pool.growAt = decided.growAt;
      for (const { jobId, attempt, gpuId } of decided.assign) {
        confirmAssignment(pool, gpuId, { jobId, leaseId: `${jobId}/${attempt}@${gpuId}` }, now);
      }
      for (let count = 0; count < decided.launch; count += 1) change(`gpu-${sequences.size}`, "launching");
      return decided;
    },
    apply({ after, kind, which, seconds, priority, tenant, completeIn }: Step): void {
      now += after * 1000;
      const leased = one(which, "leased");
      const lease = leased?.lease;
      if (kind === "ask") {
        const completeBy = now + completeIn * 1000;
        const job = { jobId: `job ${which}`, attempt: 1, tenant, priority, completeBy, kind: `kind ${which % 3}` };
        addRequest(pool, { ...job, expectedSeconds: seconds, weight: 1 }, now);
      } else if (kind === "ready") {
        const gpu = one(which, "launching");
        if (gpu !== undefined) change(gpu.gpuId, "idle");
      } else if (kind === "lose") {
        const gpu = one(which, "launching", "idle");
        if (gpu !== undefined) change(gpu.gpuId, "stopped");
      } else if (leased !== undefined && lease !== undefined && kind === "release") {
        change(leased.gpuId, "idle", { released: lease.leaseId, servedSeconds: seconds });
      } else if (leased !== undefined && lease !== undefined && kind === "refuse") {
        change(leased.gpuId, "stopping", { refused: lease.leaseId });
        change(leased.gpuId, "stopped");
      }
    },
  };
}

/** Runs the steps, deciding after each, and looks at the world before and after each decision. */
function play(max: number, all: readonly Step[], look: (world: ReturnType<typeof createWorld>, decided: Plan) => void) {
  const world = createWorld(max);
  for (const step of all) {
    world.apply(step);
    look(world, world.decide());
  }
}

const jobsOf = ({ queue, gpus }: PoolState) => [
  ...queue.map(({ jobId }) => jobId),
  ...gpus.flatMap(({ lease }) => lease?.jobId ?? []),
];

describe("whatever happens to a pool,", () => {
  const limit = fc.integer({ min: 1, max: 5 });

  it("no job is lost, and none is in two places", () => {
    fc.assert(
      fc.property(limit, steps, (max, all) => {
        const world = createWorld(max);
        const open = new Set<string>();
        for (const step of all) {
          const leasedBefore = new Set(world.pool.gpus.flatMap(({ lease }) => lease?.jobId ?? []));
          world.apply(step);
          if (step.kind === "ask") open.add(`job ${step.which}`);
          const now = new Set(jobsOf(world.pool));
          if (step.kind === "release") for (const id of leasedBefore) if (!now.has(id)) open.delete(id);
          world.decide();
          const jobs = jobsOf(world.pool);
          assert.deepEqual(new Set(jobs), open);
          assert.equal(jobs.length, open.size, "a job is there twice");
        }
      }),
    );
  });

  it("a plan gives each job at most one GPU and each GPU at most one job, and only idle ones", () => {
    fc.assert(
      fc.property(limit, steps, (max, all) => {
        const world = createWorld(max);
        for (const step of all) {
          world.apply(step);
          const idle = new Set(world.pool.gpus.filter(({ state }) => state === "idle").map(({ gpuId }) => gpuId));
          const waiting = new Set(world.pool.queue.map(({ jobId }) => jobId));
          const { assign } = world.decide();
          assert.equal(new Set(assign.map(({ jobId }) => jobId)).size, assign.length);
          assert.equal(new Set(assign.map(({ gpuId }) => gpuId)).size, assign.length);
          assert.ok(assign.every(({ jobId, gpuId }) => waiting.has(jobId) && idle.has(gpuId)));
        }
      }),
    );
  });

  it("there are never more GPUs than the limit", () => {
    fc.assert(
      fc.property(limit, steps, (max, all) => play(max, all, ({ pool }) => assert.ok(pool.gpus.length <= max))),
    );
  });

  it("none is launched while one is idle that a waiting job could have", () => {
    fc.assert(
      fc.property(limit, steps, (max, all) =>
        play(max, all, ({ pool, now }, { launch }) => {
          const isYoung = (expiresAt: number) => expiresAt >= now + settings.lifetimeMs / 2;
          const idle = pool.gpus.filter(({ state, expiresAt }) => state === "idle" && isYoung(expiresAt));
          if (launch > 0) assert.deepEqual(idle, []);
        }),
      ),
    );
  });

  it("the same state makes the same plan, and is not changed by it", () => {
    fc.assert(
      fc.property(limit, steps, (max, all) =>
        play(max, all, ({ pool, now }) => {
          const copy: PoolState = JSON.parse(JSON.stringify(pool));
          const first = plan(pool, now, settings, () => 0.5);
          assert.deepEqual(JSON.parse(JSON.stringify(pool)), JSON.parse(JSON.stringify(copy)));
          assert.deepEqual(
            plan(copy, now, settings, () => 0.5),
            first,
          );
        }),
      ),
    );
  });

  it("every waiting job has an outlook, in positions from 1", () => {
    fc.assert(
      fc.property(limit, steps, (max, all) =>
        play(max, all, ({ pool, now }) => {
          const { queue } = statusOf(pool, now, settings);
          assert.deepEqual(new Set(queue.map(({ jobId }) => jobId)), new Set(pool.queue.map(({ jobId }) => jobId)));
          assert.deepEqual(
            queue.map(({ position }) => position),
            queue.map((_, index) => index + 1),
          );
          assert.ok(queue.every(({ etaSeconds = 0 }) => etaSeconds >= 0));
        }),
      ),
    );
  });
});

describe("no job starves:", () => {
  const streams = fc.record({
    seconds: fc.integer({ min: 5, max: 60 }),
    gpus: fc.integer({ min: 1, max: 4 }),
    priority: fc.constantFrom<LeaseRequest["priority"]>("normal", "high"),
    tenant: fc.constantFrom("mine", "another"),
  });

  it("a low one is served within a bounded time, though better ones never end", () => {
    fc.assert(
      fc.property(streams, ({ seconds, gpus, priority, tenant }) => {
        const world = createWorld(gpus);
        const ask = (jobId: string, more: Partial<LeaseRequest>, completeInMs: number) => {
          const base = { jobId, attempt: 1, tenant, kind: "csm", expectedSeconds: seconds, weight: 1, priority };
          addRequest(world.pool, { ...base, completeBy: world.now + completeInMs, ...more }, world.now);
        };
        const wait: Step = { after: 0, kind: "wait", which: 0, seconds: 0, priority, tenant, completeIn: 0 };
        ask("low", { priority: "low", tenant: "mine" }, 86_400_000);
        const isServed = () => world.pool.gpus.some(({ lease }) => lease?.jobId === "low");
        const boundSeconds = 600 + 60 + 10 * seconds;
        let asked = 0;
        for (let round = 0; !isServed() && round * seconds <= boundSeconds; round += 1) {
          // There are always more than can be served.
          while (world.pool.queue.length < 3 * gpus) ask(`better ${asked++}`, {}, 600_000);
          world.decide();
          world.apply({ ...wait, after: seconds, seconds });
          for (let gpu = 0; gpu < gpus; gpu += 1) {
            world.apply({ ...wait, kind: "ready", which: gpu });
            const kept = world.pool.gpus.some(({ lease }) => lease?.jobId === "low");
            if (!kept) world.apply({ ...wait, kind: "release", seconds });
          }
          world.decide();
        }
        assert.ok(isServed(), `not served within ${boundSeconds} s`);
      }),
    );
  });
});
