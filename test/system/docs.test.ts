import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createClient } from "../../src/sdk/index.ts";
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

  async function examplesOf(page: string): Promise<string[]> {
    const text = await readFile(new URL(`../../docs/${page}`, import.meta.url), "utf8");
    return [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, script = ""]) =>
      script.replaceAll("http://127.0.0.1:5000", stack.apiUrl).replaceAll("http://127.0.0.1:5050", stack.simulator.url),
    );
  }

  async function run(script: string): Promise<string> {
    const env = { ...process.env, C3_RENDER_URL: stack.apiUrl };
    const options = { cwd: folder, timeout: 120_000, env };
    return (await promisify(execFile)("bash", ["-euo", "pipefail", "-c", script], options)).stdout;
  }

  it("run as they are in docs/cli.md", async function () {
    this.timeout(240_000);
    const program = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
    // The examples run in a folder of their own, where there is no such package.
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx"));
    const command = `c3-render() { "${process.execPath}" --import "${tsx}" "${program}" "$@"; }`;
    const examples = await examplesOf("cli.md");
    assert.equal(examples.length, 5);
    for (const example of examples) await run(`${command}\n${example}`);
    assert.ok((await stat(join(folder, "hello.mp3"))).size > 1000);
    assert.match(await readFile(join(folder, "talk.srt"), "utf8"), /-->/);
    assert.ok((await readdir(join(folder, "talk"))).length > 4);
  });

  it("run as they are in docs/api.md", async function () {
    this.timeout(120_000);
    const examples = await examplesOf("api.md");
    assert.equal(examples.length, 18);
    const ids: string[] = [];
    for (const example of examples) {
      const stdout = await run(example);
      assert.ok(!ERROR.test(stdout), `${example}\n${stdout}`);
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
