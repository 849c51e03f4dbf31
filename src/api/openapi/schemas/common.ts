import { z } from "zod";
import { jobStates } from "../../../jobs/states.ts";

/** A job's id. */
export const jobId = z.string().meta({ format: "uuid", examples: ["3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11"] });

/** ISO 8601 UTC. */
export const time = z.string().meta({ format: "date-time" });

/** A link that opens without a key. */
export const link = z.string().meta({ format: "uri" });

export const jobState = z.enum(jobStates);

/** The caller's own. */
export const metadata = z.record(z.string(), z.unknown());
