import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDirectly } from "../support/command.ts";

describe("a .env in the working folder", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-env-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const run = async (file: string, env: NodeJS.ProcessEnv = {}, args: string[] = []) => {
    const command = startDirectly(file, env, folder, args);
    const { code } = await command.ended;
    return { code, output: command.output() };
  };

  for (const file of ["dev/start", "dev/demo", "dev/temporal", "api/main", "workers/main", "simulator/main"]) {
    it(`is read by ${file}, which names what it took, and no value`, async () => {
      await writeFile(join(folder, ".env"), 'C3_API_KEY="a secret"\nexport PORT=many # a comment\n');
      const { code, output } = await run(`${file}.ts`);
      assert.equal(code, 1);
      assert.match(output, /^Read .*\.env: C3_API_KEY, PORT\n/);
      assert.match(output, /- PORT: /);
      assert.doesNotMatch(output, /a secret/);
    });
  }

  it("counts less than the environment", async () => {
    await writeFile(join(folder, ".env"), "PORT=many\nSIM_PORT=many\n");
    const { output } = await run("api/main.ts", { PORT: "5000" });
    assert.match(output, /\.env: SIM_PORT; set in the environment, which counts: PORT\n/);
    assert.match(output, /- SIM_PORT: /);
    assert.doesNotMatch(output, /- PORT: /);
  });

  it("is read by the command line, which says so beside its output", async () => {
    const api = createServer((_request, response) => response.end(JSON.stringify({ jobs: [] }))).listen(0, "127.0.0.1");
    await once(api, "listening");
    const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
    await writeFile(join(folder, ".env"), `C3_RENDER_URL=${url}\n`);
    const command = startDirectly("cli/main.ts", {}, folder, ["list", "--json"]);
    let printed = "";
    command.child.stdout?.on("data", (text: string) => {
      printed += text;
    });
    assert.equal((await command.ended).code, 0, command.output());
    assert.deepEqual(JSON.parse(printed), { jobs: [] });
    assert.match(command.output(), /Read .*\.env: C3_RENDER_URL/);
    api.close();
  });

  it("may be missing, and a folder of that name is left alone", async () => {
    for (const prepare of [() => Promise.resolve(), () => mkdir(join(folder, ".env"))]) {
      await prepare();
      const { output } = await run("api/main.ts", { PORT: "many" });
      assert.match(output, /^the configuration cannot be used/);
    }
  });
});
