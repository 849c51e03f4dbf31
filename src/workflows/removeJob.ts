import { proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";

const { removeData } = proxyActivities<Activities>({
  startToCloseTimeout: "1m",
  retry: { initialInterval: "250ms", backoffCoefficient: 2, maximumInterval: "30s" },
  summary: "remove what is left of the job, once it has ended",
});

/**
 * Removes a job that its caller wants to be forgotten. The activity fails, and so is tried again, until the job
 * has ended and nothing of it is left; while this workflow is open, the API knows no such job.
 */
export async function removeJob({ jobId }: { jobId: string }): Promise<void> {
  await removeData({ jobId });
}
