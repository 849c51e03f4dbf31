import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  bundleWorkflowCode,
  DefaultLogger,
  type ReplayResult,
  Worker,
  type WorkflowBundleOption,
} from "@temporalio/worker";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import * as workflows from "../../src/workflows/index.ts";
import { testLog } from "../support/runtime.ts";
import { readHistories } from "./store.ts";

const histories = readHistories();

/** What each history comes to with other code, by version and name. */
async function replay(workflowBundle: WorkflowBundleOption): Promise<Map<string, ReplayResult>> {
  const results = new Map<string, ReplayResult>();
  const named = histories.map(({ version, name, history }) => ({ workflowId: `${version}/${name}`, history }));
  for await (const result of Worker.runReplayHistories({ workflowBundle }, named))
    results.set(result.workflowId, result);
  return results;
}

function assertReplayed(name: string, result: ReplayResult | undefined): void {
  assert.ok(result, `${name} was not replayed`);
  if (result.error === undefined) return;
  throw new Error(
    `Workflows that began like ${name} would stand still with this code: ${result.error.message}\n` +
      "Keep the old way behind patched(), as docs/upgrading.md shows; never record the history again for that.",
    { cause: result.error },
  );
}

describe("histories of earlier versions, replayed by this one", () => {
  let results: Map<string, ReplayResult>;
  before(async function () {
    this.timeout(120_000);
    testLog();
    results = await replay(await bundleWorkflows());
  });

  for (const { version, name } of histories) {
    it(`${version}: ${name}`, () => assertReplayed(name, results.get(`${version}/${name}`)));
  }

  it("are there for every workflow", () => {
    const recorded = new Set(histories.map(({ name }) => name.split("-")[0]));
    assert.deepEqual([...recorded].sort(), Object.keys(workflows).sort());
  });

  it("fail on a change that does not fit them, and say what to do", async function () {
    this.timeout(120_000);
    const workflowsPath = fileURLToPath(new URL("./changedWorkflows.ts", import.meta.url));
    const changed = await replay(await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger("ERROR") }));
    const name = "renderJob-success-csm";
    const [of] = histories.filter((history) => history.name === name);
    assert.throws(() => assertReplayed(name, changed.get(`${of?.version}/${name}`)), /would stand still.*patched\(\)/s);
  });
});
