import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { pythonWith } from "../support/python.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";
import { downloadDocument } from "./support.ts";

const run = promisify(execFile);
const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));
/** pip takes a minute, once. */
const INSTALL_TIMEOUT_MS = 20 * 60_000;

describe("a client in Python, generated of the OpenAPI document", () => {
  let stack: TestStack | undefined;
  let python: string;
  before(async function () {
    this.timeout(INSTALL_TIMEOUT_MS);
    const found = await pythonWith(pathOf("requirements/openapi-python-client-0.28.4.txt"));
    if (found === undefined) return this.skip();
    python = found;
    stack = await startTestStack();
  });
  after(() => stack?.close());

  it("submits a job of each kind and reads what came of it", async function () {
    this.timeout(300_000);
    assert.ok(stack);
    const { folder, document } = await downloadDocument(stack.apiUrl);
    try {
      const config = join(folder, "config.yml");
      // It would format what it writes.
      await writeFile(config, "post_hooks: []\n");
      const target = join(folder, "client");
      const generate = ["generate", "--path", document, "--output-path", target, "--config", config];
      await run(python, ["-m", "openapi_python_client", ...generate, "--fail-on-warning"]);
      const program = [pathOf("program.py"), target, stack.apiUrl, `${stack.simulator.url}/sim/files`];
      const { stdout } = await run(python, program, { timeout: 240_000 });
      const told = JSON.parse(stdout) as { type: string; status: string; result: Record<string, string> }[];
      assert.deepEqual(
        told.map(({ type, status }) => `${type} ${status}`),
        ["csm success", "whisper success", "portrait success", "analyze success", "lipsync succeeded"],
      );
      for (const { type, result } of told) {
        assert.ok(result.text ?? result.result_url, type);
        if (result.result_url !== undefined) assert.equal((await fetch(result.result_url)).status, 200, type);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
