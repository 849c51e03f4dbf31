/** Workflow ids: what somebody types into the search box of the Temporal Web UI. */
export const ids = {
  job: (jobId: string) => `job-${jobId}`,
  webhook: (jobId: string) => `job-${jobId}-webhook`,
  pool: (gpuType: string) => `gpu-pool-${gpuType}`,
  /** @param expires the second at which the provider ends the instance; unique per type, so the id is too */
  gpu: (gpuType: string, expires: number) => `gpu-${gpuType}-${expires}`,
  reconciler: "reconcile-gpus",
} as const;
