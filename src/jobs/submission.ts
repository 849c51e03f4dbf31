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
    notify_url: httpUrl.optional().describe("Where the webhook goes when the job ends; a public address"),
    max_time: integer(60, 7200, defaults.maxTimeSeconds).describe(
      "Seconds, from the moment processing starts; the operator may set a lower ceiling",
    ),
    complete_in: integer(60, 86_400, defaults.completeInSeconds).describe("Seconds, from the submission"),
    priority: z.enum(priorities).default("normal"),
    metadata: metadata
      .optional()
      .describe(`Given back in the job document and the webhook; at most ${MAX_METADATA_BYTES} bytes of JSON`),
  };
}
