import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient } from "../../src/client/index.ts";
import { readDocument, routesOf } from "../api/openapi/support.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const ERROR = /"error"|curl: \(/;

describe("the examples of the documentation", async () => {
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

  it("run as they are in docs/api.md", async function () {
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

  it("render as they are in the OpenAPI document", async function () {
    this.timeout(120_000);
    const client = createClient({ baseUrl: `${stack.apiUrl}/api/v0` });
    const document = readDocument(await (await fetch(`${stack.apiUrl}/openapi.json`)).json());
    const submissions = routesOf(document).filter(({ tags }) => tags.includes("Submissions"));
    assert.equal(submissions.length, 5);
    for (const { path, requestBody } of submissions) {
      for (const { value } of Object.values(requestBody?.content["application/json"]?.examples ?? {})) {
        const text = JSON.stringify(value)
          .replaceAll("https://example.com/hook", `${stack.simulator.url}/sim/hooks/openapi`)
          .replaceAll("https://example.com/", `${stack.simulator.url}/sim/files/`);
        const { status, body } = await stack.post(path, JSON.parse(text));
        assert.equal(status, 200, `${path} ${text} ${JSON.stringify(body)}`);
        const job = await client.wait(String(body.id ?? body.job_id), { pollMs: 100 });
        assert.ok(job.result, `${path} ${text} ${job.error}`);
      }
    }
  });
});
