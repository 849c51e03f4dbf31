import { z } from "zod";
import { waitingReasons } from "../../../gpus/types.ts";
import { jobTypes } from "../../../jobs/job.ts";
import { jobStages, jobStates } from "../../../jobs/states.ts";

/** A job's id. */
export const jobId = z.string().meta({ format: "uuid", examples: ["3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11"] });

/** ISO 8601 UTC. */
export const time = z.string().meta({ format: "date-time" });

/** A link that opens without a key. */
export const link = z.string().meta({ format: "uri" });

export const jobType = z.enum(jobTypes);
export const jobState = z.enum(jobStates);
export const jobStage = z.enum(jobStages);
export const waitingReason = z.enum(waitingReasons);

/** The caller's own. */
export const metadata = z.record(z.string(), z.unknown());
