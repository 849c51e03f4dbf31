import type { JobSpec } from "../jobs/job.ts";

export interface GpuDemand {
  /** The workload type that the job needs. */
  gpuType: string;
  /** How long it is expected to hold the GPU. */
  expectedSeconds: number;
}

const CHARACTERS_PER_SECOND = 14;
const CSM_OVERHEAD_SECONDS = 5;

/** What a job asks of the pools. CSM speaks at about the speed of speech. */
export function demandOf(job: JobSpec): GpuDemand {
  const characters = job.input.monologue.join(" ").length;
  return { gpuType: "media:fast", expectedSeconds: CSM_OVERHEAD_SECONDS + characters / CHARACTERS_PER_SECOND };
}
