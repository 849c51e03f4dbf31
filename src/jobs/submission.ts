import { z } from "zod";
import { httpUrl, integer } from "./fields.ts";

export const priorities = ["low", "normal", "high"] as const;
export type Priority = (typeof priorities)[number];

const MAX_METADATA_BYTES = 4096;

const metadata = z
  .record(z.string(), z.unknown(), { error: "must be an object" })
  .refine(fitsMetadata, { error: `must be at most ${MAX_METADATA_BYTES} bytes of JSON` });

function fitsMetadata(value: unknown): boolean {
  try {
    return new TextEncoder().encode(JSON.stringify(value)).length <= MAX_METADATA_BYTES;
  } catch (error) {
    // Nested so deep that the stack ends, which takes far more bytes than are allowed.
    if (error instanceof RangeError) return false;
    throw error;
  }
}

export interface SubmissionDefaults {
  maxTimeSeconds: number;
  completeInSeconds: number;
}

/** The fields that every submission has, whatever its type. */
export function submissionFields(defaults: SubmissionDefaults) {
  return {
    notify_url: httpUrl.optional(),
    /** Seconds, from the moment processing starts. */
    max_time: integer(60, 7200, defaults.maxTimeSeconds),
    /** Seconds, from the submission. */
    complete_in: integer(60, 86_400, defaults.completeInSeconds),
    priority: z.enum(priorities).default("normal"),
    metadata: metadata.optional(),
  };
}
