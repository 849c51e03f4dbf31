import { status as grpc } from "@grpc/grpc-js";
import { ApplicationFailure, log } from "@temporalio/activity";
import { isGrpcServiceError, type WorkflowExecutionStatusName } from "@temporalio/client";
import { ApplicationFailureCategory, WorkflowNotFoundError } from "@temporalio/common";
import { ids } from "../../contracts/names.ts";
import { keys } from "../../storage/keys.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";
import type { ActivityDeps } from "../support/deps.ts";

export function createRemoveData({ client, store }: Pick<ActivityDeps, "client" | "store">) {
  return {
    /**
     * Removes the files, the record and the workflows of a job that has ended.
     * @throws a retryable failure while there is something left: a workflow that still runs (a job has its GPU to
     * free, a webhook is to be delivered), or one that the server has not deleted yet
     */
    async removeData({ jobId }: { jobId: string }): Promise<void> {
      if ((await statusOf(ids.job(jobId))) === "RUNNING") throw notYet("the job has not ended");
      for (const prefix of keys.everythingOf(jobId)) await removeAll(store, prefix);
      const left = await Promise.all([ids.webhook(jobId), ids.job(jobId)].map(removeWorkflow));
      if (left.includes(true)) throw notYet("not all of its workflows are deleted");
      log.info("the job is removed", { jobId });
    },
  };

  /** @returns whether it is still there */
  async function removeWorkflow(workflowId: string): Promise<boolean> {
    const earlier = await removeListedRuns(workflowId);
    const status = await statusOf(workflowId);
    if (status === undefined) return earlier;
    if (status !== "RUNNING") await removeRun({ workflowId });
    return true;
  }

  /** One that was reset has several runs. @returns whether there are any */
  async function removeListedRuns(workflowId: string): Promise<boolean> {
    let found = false;
    for await (const { runId, status } of client.workflow.list({ query: `WorkflowId = '${workflowId}'` })) {
      found = true;
      if (status.name !== "RUNNING") await removeRun({ workflowId, runId });
    }
    return found;
  }

  async function removeRun(workflowExecution: { workflowId: string; runId?: string }): Promise<void> {
    const { namespace } = client.options;
    try {
      await client.workflowService.deleteWorkflowExecution({ namespace, workflowExecution });
    } catch (error) {
      // Lists show for a while what is deleted.
      if (!(isGrpcServiceError(error) && error.code === grpc.NOT_FOUND)) throw error;
    }
  }

  async function statusOf(workflowId: string): Promise<WorkflowExecutionStatusName | undefined> {
    try {
      return (await client.workflow.getHandle(workflowId).describe()).status.name;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  }
}

/** Removes every object whose key starts with `prefix`. */
export async function removeAll(store: ObjectStore, prefix: string): Promise<void> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  if (found.length > 0) await store.remove(found);
}

function notYet(message: string): ApplicationFailure {
  return ApplicationFailure.create({ message, type: "NotYet", category: ApplicationFailureCategory.BENIGN });
}
