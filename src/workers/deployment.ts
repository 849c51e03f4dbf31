import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { WorkerOptions } from "@temporalio/worker";
import type { TemporalConfig } from "../config/index.ts";
import { readPackage } from "../process/packageVersion.ts";
import { DEPLOYMENT } from "../temporal/connection.ts";
import type { WorkflowBundle } from "./workers.ts";

/**
 * What workers say of their version: the package's, and a hash of the workflows, which alone decide what can go on
 * with what. A workflow stays with the version that it began on, unless it says otherwise itself (`setWorkflowOptions`):
 * pools, managers and the reconciler go on with whatever version is current. Without versioning they say nothing.
 */
export function deploymentOptions(
  { workerVersioning }: TemporalConfig,
  workflowBundle: WorkflowBundle,
): Pick<WorkerOptions, "workerDeploymentOptions"> & { workflowBundle: WorkflowBundle } {
  if (!workerVersioning) return { workflowBundle };
  const version = { deploymentName: DEPLOYMENT, buildId: buildIdOf(workflowBundle) };
  return {
    workerDeploymentOptions: { version, useWorkerVersioning: true, defaultVersioningBehavior: "PINNED" },
    // Workflows are told by whom they are run: nothing in Temporal's API for workflows says it while a history is replayed.
    workflowBundle: { code: `globalThis.workerVersioning = true; ${codeOf(workflowBundle)}` },
  };
}

/** Such as `0.1.0-3f9c2a71`. */
export function buildIdOf(bundle: WorkflowBundle): string {
  // The source map holds the paths of the machine that it was built on.
  const [script = ""] = codeOf(bundle).split("\n//# sourceMappingURL=");
  return `${readPackage().version}-${createHash("sha256").update(script).digest("hex").slice(0, 8)}`;
}

const codeOf = (bundle: WorkflowBundle) => ("code" in bundle ? bundle.code : readFileSync(bundle.codePath, "utf8"));
