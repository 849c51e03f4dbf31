// Compiles src/ to dist/, with the types of the client and the style of the dashboard, and bundles the workflows ahead, so that a worker in production starts without a bundler.
import { execFileSync } from "node:child_process";
import { copyFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundleWorkflowCode } from "@temporalio/worker";

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));

await rm(path("dist"), { recursive: true, force: true });
for (const project of ["tsconfig.build.json", "tsconfig.client.json"]) {
  execFileSync(process.execPath, [path("node_modules/typescript/bin/tsc"), "-p", path(project)], { stdio: "inherit" });
}
await copyFile(path("src/api/dashboard/dashboard.css"), path("dist/api/dashboard/dashboard.css"));
const workflowsPath = path("src/workflows/index.ts");
const workflowInterceptorModules = [path("src/workflows/interceptors.ts")];
const failureConverterPath = path("src/workflows/failureConverter.ts");
const bundles = {
  "bundle.cjs": { workflowsPath, workflowInterceptorModules },
  "bundle.encrypted.cjs": { workflowsPath, workflowInterceptorModules, failureConverterPath },
};
for (const [name, options] of Object.entries(bundles)) {
  const { code } = await bundleWorkflowCode(options);
  await writeFile(path(`dist/workflows/${name}`), code);
}
console.log(`built ${pathToFileURL(path("dist"))}`);
