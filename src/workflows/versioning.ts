import type { WorkflowDefinitionOptions } from "@temporalio/common";
import { workflowInfo } from "@temporalio/workflow";

/**
 * For workflows that are always open: with Worker Versioning, they go on with whatever version of the workers is current, and
 * their code is replayed by it. Without it, a server refuses to hear of behaviours.
 */
export function movesToCurrentVersion(): WorkflowDefinitionOptions {
  // Workers that do not say which deployment they are of have a build id all the same.
  return workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: "AUTO_UPGRADE" } : {};
}
