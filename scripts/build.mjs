// Compiles src/ to dist/ and bundles the workflows ahead, so that a worker in production starts without a bundler.
import { execFileSync } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundleWorkflowCode } from "@temporalio/worker";

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

await rm(path("dist"), { recursive: true, force: true });
execFileSync(process.execPath, [path("node_modules/typescript/bin/tsc"), "-p", path("tsconfig.build.json")], {
  stdio: "inherit",
});
const { code } = await bundleWorkflowCode({ workflowsPath: path("src/workflows/index.ts") });
await writeFile(path("dist/workflows/bundle.cjs"), code);
console.log(`built ${pathToFileURL(path("dist"))}`);
