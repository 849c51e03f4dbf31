import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { startTestStack, type TestStack } from "../support/stack.ts";
import { downloadDocument } from "./support.ts";

const run = promisify(execFile);
const pathOf = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const root = pathOf("../../");
const compilerOptions = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  module: "ESNext",
  moduleResolution: "bundler",
  target: "ES2022",
  types: ["node"],
  typeRoots: [join(root, "node_modules", "@types")],
};

describe("types in TypeScript, generated of the OpenAPI document", () => {
  let stack: TestStack;
  let folder: string;
  let document: string;
  before(async () => {
    stack = await startTestStack();
    ({ folder, document } = await downloadDocument(stack.apiUrl));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
    await stack.close();
  });

  it("fit a program that submits a job and reads what came of it", async function () {
    this.timeout(120_000);
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    await copyFile(pathOf("typescript/program.ts"), join(folder, "program.ts"));
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    // Beside the TypeScript that it needs.
    const generator = pathOf("typescript/node_modules/openapi-typescript/bin/cli.js");
    await run(process.execPath, [generator, document, "--output", join(folder, "api.d.ts")]);
    const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
    await run(process.execPath, [compiler, "-p", folder]).catch((error: { stdout: string }) =>
      assert.fail(error.stdout),
    );

    const program = ["--import", "tsx", join(folder, "program.ts"), stack.apiUrl];
    const { stdout } = await run(process.execPath, program, { cwd: folder });
    const { result, errors, seconds, ...told } = JSON.parse(stdout);
    assert.deepEqual(told, { status: "success", metadata: { order: 7 }, known: 3, listed: 1 });
    assert.deepEqual(Object.keys(errors), ["image_url"]);
    assert.equal(typeof seconds, "number");
    assert.equal((await fetch(result.result_url)).status, 200);
  });
});
