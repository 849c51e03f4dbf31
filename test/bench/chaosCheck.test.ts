import assert from "node:assert/strict";
import { checkChaos } from "../../bench/chaosCheck.ts";
import type { ChaosFacts, JobFact, ManagerFact, RenderFact } from "../../bench/chaosFacts.ts";
import type { LedgerEntry } from "../../src/gpus/types.ts";
import type { Instance } from "../../src/simulator/control/world.ts";

const jobFact = (id: string, changes: Partial<JobFact> = {}): JobFact => ({
  id,
  kind: "portrait",
  status: "COMPLETED",
  executions: 1,
  state: "success",
  error: undefined,
  attempts: 1,
  files: [`results/${id}.mp4`],
  states: ["running", "success"],
  modalStarts: 0,
  missing: [],
  webhook: "COMPLETED",
  ...changes,
});

const instance = (workload: string, changes: Partial<Instance> = {}): Instance => ({
  workload,
  node: `node-${workload}`,
  type: "media:fast",
  created: 1000,
  expires: 8000 + Number(workload),
  ended: 1050,
  why: "stopped",
  billedSeconds: 50,
  refundAmount: 1,
  killed: false,
  ...changes,
});

const entryOf = ({ workload, node, type, expires, billedSeconds }: Instance): LedgerEntry => ({
  workload,
  gpuId: `gpu-${type}-${expires}`,
  type,
  node,
  paidFrom: "",
  stoppedAt: "",
  paidSeconds: billedSeconds,
  bootSeconds: 1,
  busySeconds: 1,
  idleSeconds: billedSeconds - 2,
  jobs: 1,
  refundAmount: 1,
});

const managerOf = ({ type, expires }: Instance): ManagerFact => {
  return { gpuId: `gpu-${type}-${expires}`, status: "COMPLETED", closedAt: 1_060_000 };
};

const render = (changes: Partial<RenderFact> = {}): RenderFact => ({
  node: "node-1",
  model: "portrait",
  key: "lease of a",
  startedAt: 1_010_000,
  finishedAt: 1_015_000,
  outcome: "success",
  ...changes,
});

/** A drill in which every promise was kept: a portrait, a lip-sync on Modal that was cancelled, one GPU. */
function soundFacts(): ChaosFacts {
  const gpu = instance("1");
  return {
    seed: 1,
    seconds: 60,
    submitted: [
      { id: "a", kind: "portrait" },
      { id: "b", kind: "lip-sync" },
    ],
    troubles: { "worker killed": 1 },
    plannedTroubles: ["worker killed"],
    jobs: [
      jobFact("a"),
      jobFact("b", { kind: "lipsync", status: "CANCELLED", state: "cancelled", states: ["cancelled"], modalStarts: 1 }),
    ],
    managers: [managerOf(gpu)],
    instances: [gpu],
    controlCalls: { made: 100, hit: 50 },
    lastUse: new Map([["node-1", 1_020_000]]),
    renders: [render(), render({ node: "modal", model: "lipsync", key: "b" })],
    deliveries: [
      { id: "msg_a", jobId: "a", status: "success", taken: false },
      { id: "msg_a", jobId: "a", status: "success", taken: true },
      { id: "msg_b", jobId: "b", status: "cancelled", taken: true },
    ],
    ledger: [entryOf(gpu)],
    leftInputs: [],
    unsettled: [],
    settledAfterSeconds: 10,
    maxGpus: { "media:fast": 1 },
    instanceBoundSeconds: 60,
  };
}

const change = (job: Partial<JobFact>) => (facts: ChaosFacts) => {
  facts.jobs[0] = jobFact("a", job);
};
const rent = (gpu: Instance) => (facts: ChaosFacts) => {
  facts.instances.push(gpu);
  facts.ledger.push(entryOf(gpu));
  facts.managers.push(managerOf(gpu));
};

/** What is done to sound facts, and the one promise that is then seen to be broken. */
const doctored: [name: string, doctor: (facts: ChaosFacts) => void, seen: RegExp][] = [
  ["a trouble that was never made", (facts) => (facts.troubles = {}), /made no trouble: worker killed/],
  ["too few failed calls", (facts) => (facts.controlCalls.hit = 20), /only 20 of 100 calls/],
  ["no lip-sync", (facts) => facts.renders.pop(), /no lipsync was rendered/],
  ["work that did not end", (facts) => facts.unsettled.push("job-a"), /at the end: job-a/],
  ["an accepted job that is lost", (facts) => facts.submitted.push({ id: "c", kind: "csm" }), /job c .* is lost/],
  [
    "a job without a final state",
    change({ state: "running", status: "RUNNING", states: ["running"] }),
    /0 final states/,
  ],
  ["a job with two final states", change({ states: ["failed", "success"] }), /2 final states/],
  ["a state after the final one", change({ states: ["success", "running"] }), /changed after its end/],
  ["another state than the final one", change({ states: ["running", "cancelled"] }), /is success, and was cancelled/],
  ["a job executed twice", change({ executions: 2 }), /executed 2 times/],
  ["a success whose workflow failed", change({ status: "FAILED" }), /its workflow is FAILED/],
  ["a success without a file", change({ files: [] }), /success without a file/],
  ["a success without its object", change({ missing: ["results/a.mp4"] }), /results\/a.mp4 is not stored/],
  ["inputs that stayed", (facts) => facts.leftInputs.push("inputs/a/image"), /inputs\/a\/image was not removed/],
  [
    "a second render of one lease",
    (facts) => facts.renders.push(render({ startedAt: 1_016_000, finishedAt: 1_018_000, outcome: "error" })),
    /rendered 2 times on one lease/,
  ],
  ["a second call on Modal", (facts) => facts.renders.push(facts.renders[1]!), /ran 2 times, started 1 times/],
  [
    "two runs on one node",
    (facts) => facts.renders.push(render({ model: "csm", key: "x", startedAt: 1_012_000 })),
    /csm run began while a portrait run went on/,
  ],
  [
    "an instance that idles",
    rent(instance("2", { created: 2000, ended: 2100, billedSeconds: 100 })),
    /for 100 s after/,
  ],
  ["an instance over the limit", rent(instance("2", { created: 1049 })), /2 instances of media:fast ran at one time/],
  [
    "a second instance of one launch that lives on",
    rent(instance("2", { expires: 8001, created: 930, ended: 1000, billedSeconds: 70 })),
    /a second one of its launch, ran 70 s/,
  ],
  ["a caller who was told twice", (facts) => (facts.deliveries[1]!.id = "msg_x"), /told under 2 ids/],
  ["a caller who was told wrongly", (facts) => (facts.deliveries[2]!.status = "failed"), /told failed, and it is/],
  ["a caller who was not told", (facts) => facts.deliveries.pop(), /did not take what counts as delivered/],
  ["a webhook given up early", change({ webhook: "FAILED" }), /given up after 1 refusals/],
  ["a webhook that is missing", change({ webhook: undefined }), /webhook of portrait job a is missing/],
  ["an instance without an entry", (facts) => facts.ledger.pop(), /is not in the ledger/],
  ["an instance with two entries", (facts) => facts.ledger.push(facts.ledger[0]!), /in the ledger 2 times/],
  ["an entry that is too small", (facts) => (facts.ledger[0]!.paidSeconds = 48), /with 48.0 s and was billed 50 s/],
  ["an entry that is too large", (facts) => (facts.ledger[0]!.paidSeconds = 52), /with 52.0 s and was billed 50 s/],
  [
    "a guess that is too large",
    (facts) => {
      const { refundAmount: _, ...guess } = entryOf(instance("1", { billedSeconds: 111 }));
      facts.ledger = [guess];
    },
    /with 111.0 s and was billed 50 s/,
  ],
  [
    "an entry that nobody billed",
    (facts) => facts.ledger.push(entryOf(instance("9"))),
    /9 is in the ledger, not billed/,
  ],
];

describe("the check of the failure drill", () => {
  it("finds nothing where every promise was kept", () => {
    assert.deepEqual(checkChaos(soundFacts()), []);
  });

  for (const [name, doctor, seen] of doctored) {
    it(`finds ${name}`, () => {
      const facts = soundFacts();
      doctor(facts);
      const violations = checkChaos(facts);
      assert.ok(
        violations.some((violation) => seen.test(violation)),
        violations.join("\n") || "nothing found",
      );
    });
  }

  it("allows the second instance of a launch for a minute", () => {
    const facts = soundFacts();
    rent(instance("2", { expires: 8001, created: 1001, ended: 1040, billedSeconds: 39 }))(facts);
    assert.deepEqual(checkChaos(facts), []);
  });

  it("allows a portrait that is made again after ComfyUI has forgotten it", () => {
    const facts = soundFacts();
    facts.renders.push(render({ startedAt: 1_002_000, finishedAt: 1_003_000, outcome: "lost" }));
    assert.deepEqual(checkChaos(facts), []);
  });
});
