import type { z } from "zod";
import type { deliveriesSchema } from "../api/openapi/schemas/deliveries.ts";
import type { gpusSchema, poolsSchema } from "../api/openapi/schemas/gpus.ts";
import type { jobSchema, jobsSchema, resultSchema, statusSchema } from "../api/openapi/schemas/jobs.ts";
import type { versionsSchema } from "../api/openapi/schemas/versions.ts";
import type { JobType } from "../jobs/job.ts";
import type { analyzeSchema } from "../jobs/kinds/analyze.ts";
import type { csmSchema } from "../jobs/kinds/csm.ts";
import type { lipsyncSchema } from "../jobs/kinds/lipsync.ts";
import type { portraitSchema } from "../jobs/kinds/portrait.ts";
import type { whisperSchema } from "../jobs/kinds/whisper.ts";
import type { JobState } from "../jobs/states.ts";

/** What is sent for a job of each kind: the bodies of the API's documentation. */
export interface Submissions {
  csm: z.input<ReturnType<typeof csmSchema>>;
  whisper: z.input<ReturnType<typeof whisperSchema>>;
  portrait: z.input<ReturnType<typeof portraitSchema>>;
  analyze: z.input<ReturnType<typeof analyzeSchema>>;
  lipsync: z.input<ReturnType<typeof lipsyncSchema>>;
}

export type Status = z.output<typeof statusSchema>;
export type Result = z.output<typeof resultSchema>;
export type Job = z.output<typeof jobSchema>;
export type JobPage = z.output<typeof jobsSchema>;
export type Deliveries = z.output<typeof deliveriesSchema>;
export type Pools = z.output<typeof poolsSchema>;
export type Gpus = z.output<typeof gpusSchema>;
export type Versions = z.output<typeof versionsSchema>;

/** Which jobs are listed. */
export interface JobFilter {
  status?: JobState;
  type?: JobType;
  /** For administrators; all tenants when left out. */
  tenant?: string;
  /** 1–100; 20 when left out. */
  limit?: number;
  /** The `next_cursor` of the page before. */
  cursor?: string;
}
