import type { Client, WorkflowExecutionDescription } from "@temporalio/client";
import { WorkflowNotFoundError } from "@temporalio/common";
import { ids } from "../../../contracts/names.ts";
import type { GpuView } from "../../../gpus/types.ts";
import type { JobView } from "../../../jobs/job.ts";
import type { Waiting } from "../../../workflows/jobRecord.ts";

/** What Temporal lists and tells of managers and jobs. Lists lag behind a little. */

/** By id, with what they wait for. */
export type OpenJobs = Map<string, Waiting | undefined>;

/** Workflows that somebody terminated, or whose time was up: they could tell nobody. */
export const endedByForce = "ExecutionStatus IN ('Terminated', 'TimedOut')";
/** A terminated job shows in the list a little after it was terminated. */
export const LIST_LAG_MS = 60_000;

export async function openManagers(client: Client): Promise<GpuView[]> {
  const views: GpuView[] = [];
  const query = "WorkflowType = 'gpuManager' AND ExecutionStatus = 'Running'";
  for await (const { memo } of client.workflow.list({ query })) {
    if (isGpuView(memo?.gpu)) views.push(memo.gpu);
  }
  return views;
}

export async function openJobs(client: Client) {
  const jobs: OpenJobs = new Map();
  /** By id, with their tenants. */
  const queued = new Map<string, string>();
  const query = "WorkflowType = 'renderJob' AND ExecutionStatus = 'Running'";
  for await (const { memo, workflowId } of client.workflow.list({ query })) {
    jobs.set(jobIdOf(workflowId), isWaiting(memo?.waiting) ? memo.waiting : undefined);
    if (isJobView(memo?.view) && memo.view.state === "queued") queued.set(memo.view.id, memo.view.tenant);
  }
  return { jobs, queued };
}

/** Undefined when there is no such workflow. */
export async function describe(client: Client, workflowId: string): Promise<WorkflowExecutionDescription | undefined> {
  try {
    return await client.workflow.getHandle(workflowId).describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

function jobIdOf(workflowId: string): string {
  return workflowId.slice(ids.job("").length);
}

export function isGpuView(value: unknown): value is GpuView {
  return typeof value === "object" && value !== null && "gpuId" in value;
}

export function isJobView(value: unknown): value is JobView {
  return typeof value === "object" && value !== null && "state" in value;
}

export function isWaiting(value: unknown): value is Waiting {
  return typeof value === "object" && value !== null && "gpuType" in value;
}
