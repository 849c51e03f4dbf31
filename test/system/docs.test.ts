import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startTestStack, type TestStack } from "../support/stack.ts";

const ERROR = /"error"|curl: \(/;

describe("the examples of docs/api.md", async () => {
  let stack: TestStack;
  let folder: string;
  before(async () => {
    stack = await startTestStack();
    folder = await mkdtemp(join(tmpdir(), "c3-render-docs-"));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await stack.close();
  });

  it("run as they are", async function () {
    this.timeout(120_000);
    const page = await readFile(new URL("../../docs/api.md", import.meta.url), "utf8");
    const examples = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, script = ""]) => script);
    assert.equal(examples.length, 18);
    const ids: string[] = [];
    for (const example of examples) {
      const script = example
        .replaceAll("http://127.0.0.1:5000", stack.apiUrl)
        .replaceAll("http://127.0.0.1:5050", stack.simulator.url);
      const { stdout } = await promisify(execFile)("bash", ["-eu", "-c", script], { cwd: folder, timeout: 60_000 });
      assert.ok(!ERROR.test(stdout), `${script}\n${stdout}`);
      ids.push(
        ...[...stdout.matchAll(/"(?:job_)?id":"([0-9a-f-]{36})","status":"(?:queued|submitted)"/g)].map(
          ([, id = ""]) => id,
        ),
      );
    }
    assert.ok((await stat(join(folder, "speech.mp3"))).size > 1000);
    for (const id of new Set(ids)) await stack.untilState(id, "success");
  });
});
