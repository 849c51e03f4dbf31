import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { eventually } from "../support/eventually.ts";
import { pythonWith } from "../support/python.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const run = promisify(execFile);
/** pip takes a minute, once. */
const INSTALL_TIMEOUT_MS = 20 * 60_000;
const KEY = "a-key-of-the-tests-1234";
/** Its own command is installed for the place where it was first put. */
const PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()";
/**
 * Everything is checked, but for two rules that this API breaks on purpose. Some of what it refuses cannot be said in JSON Schema: rules between
 * two fields, what a text must have in it, that a cursor is of this list, that a job has ended. And it takes numbers as strings, `null` and an
 * empty text for what is left out, and a flag without a value.
 */
const BROKEN_ON_PURPOSE = "positive_data_acceptance,negative_data_rejection";
/** Of each operation and each way to make requests; the seed makes them the same in every run. */
const EXAMPLES = process.env.SCHEMATHESIS_EXAMPLES ?? "5";

/** They are given addresses that lead nowhere, which is tried again. */
async function endJobs({ client }: TestStack): Promise<void> {
  await eventually("all jobs have ended", async () => {
    let open = 0;
    for await (const { workflowId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
      if (!workflowId.startsWith("job-")) continue;
      open += 1;
      await client.workflow
        .getHandle(workflowId)
        .terminate()
        .catch(() => {});
    }
    return open === 0 || undefined;
  });
}

describe("requests that schemathesis makes of the OpenAPI document", () => {
  let stack: TestStack | undefined;
  let python: string;
  before(async function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    const requirements = new URL("./requirements/schemathesis-4.32.5.txt", import.meta.url);
    const found = await pythonWith(fileURLToPath(requirements));
    if (found === undefined) return this.skip();
    python = found;
  });
  afterEach(async () => {
    if (stack !== undefined) await endJobs(stack);
    await stack?.close();
    stack = undefined;
  });

  for (const [who, env] of [
    ["somebody without a key, where none is needed", {}],
    // Which sends many wrong ones, too.
    ["somebody with a key", { C3_RENDER_API_KEY: KEY, AUTH_FAILURES_PER_MINUTE: "1000000" }],
  ] as const) {
    it(`are all answered as it says, for ${who}`, async function () {
      this.timeout(600_000);
      stack = await startTestStack({ env });
      const args = ["run", `${stack.apiUrl}/openapi.json`, "--exclude-checks", BROKEN_ON_PURPOSE];
      args.push("--max-examples", EXAMPLES, "--seed", "1", "--no-color");
      const asWhom = "C3_RENDER_API_KEY" in env ? ["--header", `X-C3-RENDER-KEY: ${KEY}`] : [];
      // It writes down what it found, where it runs.
      const folder = await mkdtemp(join(tmpdir(), "c3-render-schemathesis-"));
      const options = { cwd: folder, maxBuffer: 64 * 1024 * 1024 };
      try {
        await run(python, ["-c", PROGRAM, ...args, ...asWhom], options).catch((error) => {
          assert.fail(`${error.stdout}\n${error.stderr}`);
        });
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }
});
