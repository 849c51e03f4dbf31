import assert from "node:assert/strict";
import type { Client as TemporalClient } from "@temporalio/client";
import { runCommand, UsageError } from "../../src/cli/commands.ts";
import { ApiError, type Client, createClient } from "../../src/client/index.ts";
import { ids } from "../../src/workflows/names.ts";
import { connectTestClient, KEY, startTestApi, type TestApi } from "../api/support.ts";
import { eventually } from "../support/eventually.ts";

describe("the command line", () => {
  let temporal: TemporalClient;
  let api: TestApi;
  let client: Client;
  before(async () => {
    ({ client: temporal } = await connectTestClient());
    api = await startTestApi({ client: temporal });
    client = createClient({ baseUrl: api.url, apiKey: KEY });
  });
  after(async () => {
    await api.close();
    await temporal.connection.close();
  });

  const run = (...args: string[]) => runCommand(client, args, AbortSignal.timeout(10_000));

  it("submits a job by fields and JSON, says how it is, and cancels it", async () => {
    const json = JSON.stringify({ metadata: { order: 7 }, topk: 1 });
    const { output } = await run("submit", "csm", "text=a=b", "topk=20", "--json", json);
    const { id } = output as { id: string };
    assert.deepEqual((await run("status", id)).output, { id, status: "queued", progress: null });
    const job = (await run("job", id)).output as Record<string, unknown>;
    assert.deepEqual([job.type, job.metadata], ["csm", { order: 7 }]);
    const { jobs } = await eventually("it is listed", async () => {
      const page = (await run("list", "type=csm", "limit=1")).output as { jobs: { id: string }[] };
      return page.jobs.length > 0 ? page : undefined;
    });
    assert.equal(jobs[0]?.id, id);
    const cancelled = await run("cancel", id);
    assert.deepEqual(cancelled, { output: { message: `Job ${id} will be marked as cancelled` }, ok: true });
    assert.match(((await run("remove", id)).output as { message: string }).message, /and data removed$/);
    for (const workflowId of [ids.job(id), ids.removal(id)]) await temporal.workflow.getHandle(workflowId).terminate();
  });

  it("waits until a job has ended, and fails when it failed", async () => {
    const { output } = await run("submit", "csm", "text=Hello.");
    const { id } = output as { id: string };
    const waiting = run("wait", id);
    await temporal.workflow.getHandle(ids.job(id)).terminate();
    const { output: job, ok } = await waiting;
    assert.equal(ok, false);
    assert.equal((job as { error: string }).error, "Job was terminated by an operator");
    assert.equal(((await run("result", id)).output as { status: string }).status, "failed");
  });

  it("passes on what the API refuses", async () => {
    await assert.rejects(run("submit", "csm", "text="), (error: ApiError) => {
      assert.ok(error instanceof ApiError);
      assert.deepEqual(error.errors, { text: "text or monologue is required" });
      return true;
    });
  });

  for (const args of [
    [],
    ["submit"],
    ["submit", "song", "text=a"],
    ["submit", "csm", "text"],
    ["submit", "csm", "--json", "[]"],
    ["submit", "csm", "--loud"],
    ["status"],
    ["status", "a", "b"],
    ["list", "all"],
    ["dance", "a"],
  ]) {
    it(`does not know what is meant by "${args.join(" ")}"`, async () => {
      await assert.rejects(run(...args), UsageError);
    });
  }
});
