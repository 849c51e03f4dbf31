import { type Client, type WorkflowExecutionInfo, WorkflowNotFoundError } from "@temporalio/client";

type Run = Pick<WorkflowExecutionInfo, "workflowId" | "runId">;

/**
 * Whether a run that has ended is how its workflow ended. It is not when the workflow was reset, or started again: then it
 * goes on in a newer run, and lists show both.
 */
export async function isLatestRun(client: Client, { workflowId, runId }: Run): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).runId === runId;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return true;
    throw error;
  }
}
