import type { WorkflowDefinitionOptions } from "@temporalio/common";

declare global {
  /** Set by workers that use Worker Versioning, before the workflows are loaded (`src/workers/deployment.ts`). */
  var workerVersioning: true | undefined;
}

/**
 * For workflows that are always open: with Worker Versioning, they go on with whatever version of the workers is current, and
 * their code is replayed by it. Without it, a server refuses to hear of behaviours, and so the worker that replays decides:
 * what the history says is the version of the worker before.
 */
export function movesToCurrentVersion(): WorkflowDefinitionOptions {
  return globalThis.workerVersioning ? { versioningBehavior: "AUTO_UPGRADE" } : {};
}
