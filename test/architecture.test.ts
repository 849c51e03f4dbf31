import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const biome = createRequire(import.meta.url).resolve("@biomejs/biome/bin/biome");

/** For each room one that it must not know. */
const forbidden: Record<string, string> = {
  activities: "../workers/activities.ts",
  api: "../activities/index.ts",
  cli: "../api/app.ts",
  clients: "../jobs/job.ts",
  config: "../process/log.ts",
  contracts: "../activities/index.ts",
  dev: "../activities/index.ts",
  gpus: "../contracts/names.ts",
  jobs: "../gpus/types.ts",
  lib: "../process/log.ts",
  media: "../storage/keys.ts",
  net: "../clients/comput3.ts",
  process: "../temporal/connection.ts",
  sdk: "../config/index.ts",
  simulator: "../clients/comput3.ts",
  storage: "../temporal/connection.ts",
  temporal: "../storage/keys.ts",
  webhooks: "../activities/index.ts",
  workers: "../api/app.ts",
  workflows: "../temporal/connection.ts",
};

describe("the import rules of the linter", () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "c3-render-lint-"));
    cpSync("biome.json", join(folder, "biome.json"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** The files, by their paths below `src/`, that may not import what they import. */
  function refused(imports: Record<string, string>): string[] {
    for (const [path, imported] of Object.entries(imports)) {
      mkdirSync(join(folder, "src", path, ".."), { recursive: true });
      writeFileSync(join(folder, "src", path), `export { it } from "${imported}";\n`);
    }
    const args = ["lint", "--reporter=json", "--vcs-enabled=false", "--max-diagnostics=none", "src"];
    const { stdout } = spawnSync(process.execPath, [biome, ...args], { cwd: folder, encoding: "utf8" });
    const { diagnostics } = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] };
    const found = diagnostics.filter(({ category }) => category === "lint/style/noRestrictedImports");
    return found.map(({ location }) => location.path.slice("src/".length)).sort();
  }

  it("know every folder of src, and nothing lies beside the folders", () => {
    assert.deepEqual(readdirSync("src").sort(), Object.keys(forbidden).sort());
  });

  it("refuse in each room what it must not know", () => {
    const imports = Object.fromEntries(Object.entries(forbidden).map(([room, path]) => [`${room}/x.ts`, path]));
    assert.deepEqual(refused(imports), Object.keys(imports).sort());
  });

  it("let the SDK have the schemas of the API, and nothing else of it", () => {
    const folders = readdirSync("src/api", { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const others = folders.map(({ name }) => name).filter((name) => name !== "openapi");
    const imports = Object.fromEntries(others.map((name) => [`sdk/${name}.ts`, `../api/${name}/x.ts`]));
    assert.deepEqual(
      refused({ ...imports, "sdk/fine.ts": "../api/openapi/schemas/jobs.ts" }),
      Object.keys(imports).sort(),
    );
  });
});
