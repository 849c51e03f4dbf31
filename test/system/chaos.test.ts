import assert from "node:assert/strict";
import { checkChaos } from "../../bench/chaosCheck.ts";
import { runChaos } from "../../bench/chaosDrill.ts";
import { s3Executable, temporalExecutable } from "../support/programs.ts";

describe("the failure drill, shortened", () => {
  it("keeps every promise while workers, servers, nodes and workflows die", async function () {
    this.timeout(300_000);
    const seed = Number(process.env.CHAOS_SEED ?? 7);
    const facts = await runChaos({
      seed,
      jobs: 30,
      seconds: 15,
      workers: 2,
      troubles: {
        "worker killed": 2,
        "worker stalled": 1,
        "Temporal restarted": 1,
        "node killed": 1,
        "node vanished": 1,
        "ComfyUI restarted": 1,
        "object store down": 1,
        "object store stalled": 1,
        "pool terminated": 1,
        "manager terminated": 2,
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
