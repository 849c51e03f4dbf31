import { defineSearchAttributeKey } from "@temporalio/common";

/** Workflow ids: what somebody types into the search box of the Temporal Web UI. */
export const ids = {
  job: (jobId: string) => `job-${jobId}`,
  webhook: (jobId: string) => `job-${jobId}-webhook`,
  /** One at a time. */
  replay: "replay-webhooks",
  /** While it is open the job's data are being removed: to the world there is no such job. */
  removal: (jobId: string) => `job-${jobId}-removal`,
  pool: (gpuType: string) => `gpu-pool-${gpuType}`,
  /** @param expires the second at which the provider ends the instance; unique per type, so the id is too */
  gpu: (gpuType: string, expires: number) => `gpu-${gpuType}-${expires}`,
  /** @param workload the provider's id of the instance that is ended without its manager */
  retirement: (workload: string) => `gpu-end-${workload}`,
  reconciler: "reconcile-gpus",
} as const;

/** The job whose webhook has that workflow id. */
export function jobIdOfWebhook(workflowId: string): string {
  return workflowId.slice(ids.job("").length, -"-webhook".length);
}

/** The task queues. Long activities have queues of their own, so that renders never starve the short steps. */
export const taskQueues = {
  /** Workflows and quick activities. */
  main: "c3-render",
  /** Activities that hold or watch a paid GPU; they must never wait for a slot. */
  gpu: "c3-render-gpu",
  /** Downloading and preparing inputs. */
  inputs: "c3-render-inputs",
  /** Workflows and activities of webhooks: a receiver that takes its time must keep nothing else waiting. */
  webhooks: "c3-render-webhooks",
} as const;

/** Search attributes of every job; no personal data in them. */
export const searchAttributes = {
  jobType: defineSearchAttributeKey("JobType", "KEYWORD"),
  jobState: defineSearchAttributeKey("JobState", "KEYWORD"),
  tenant: defineSearchAttributeKey("Tenant", "KEYWORD"),
  completeBy: defineSearchAttributeKey("CompleteBy", "DATETIME"),
} as const;
