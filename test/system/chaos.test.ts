import assert from "node:assert/strict";
import { checkChaos } from "../../bench/chaosCheck.ts";
import { runChaos } from "../../bench/chaosDrill.ts";
import { s3Executable, temporalExecutable } from "../support/programs.ts";

describe("the failure drill, shortened", () => {
  // Half a minute to several, by chance: it is run when a seed is given.
  before(function () {
    if (process.env.CHAOS_SEED === undefined) this.skip();
  });

  it("keeps every promise while workers, servers, nodes and workflows die", async function () {
    this.timeout(300_000);
    const seed = Number(process.env.CHAOS_SEED);
    const facts = await runChaos({
      seed,
      jobs: 20,
      seconds: 12,
      workers: 2,
      troubles: {
        "worker killed": 1,
        "Temporal restarted": 0,
        "node killed": 1,
        "node vanished": 0,
        "ComfyUI restarted": 1,
        "object store down": 1,
        "object store stalled": 0,
        "pool terminated": 1,
        "manager terminated": 1,
      },
      maxGpus: { media: 4, vision: 1 },
      idleTimeoutMs: 3000,
      // That all of them end is checked; how soon depends on the machine.
      instanceBoundSeconds: Number.POSITIVE_INFINITY,
      settleSeconds: 200,
      temporalExecutable: await temporalExecutable(),
      s3Executable: await s3Executable(),
      say: () => {},
    });
    assert.deepEqual(checkChaos(facts), [], `seed ${seed}`);
  });
});
