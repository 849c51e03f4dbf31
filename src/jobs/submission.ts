import { z } from "zod";
import { httpUrl, InexactNumber, integer } from "./fields.ts";

export const priorities = ["low", "normal", "high"] as const;
export type Priority = (typeof priorities)[number];

const MAX_METADATA_BYTES = 4096;

/** Kept as it is: a schema of its keys would lose one that is called `__proto__`. */
const metadata: z.ZodType<Record<string, unknown>, Record<string, unknown>> = z
  .any()
  .refine(isObject, { error: "must be an object", abort: true })
  .refine(fitsMetadata, { error: `must be at most ${MAX_METADATA_BYTES} bytes of JSON`, abort: true })
  .superRefine((value, context) => {
    const inexact = inexactIn(value);
    if (inexact === undefined) return;
    const message = `cannot keep the number ${inexact.digits} as it is: send it as a text`;
    context.addIssue({ code: "custom", message });
  })
  .meta({ type: "object", additionalProperties: {} });

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function inexactIn(value: unknown): InexactNumber | undefined {
  if (value instanceof InexactNumber) return value;
  if (typeof value !== "object" || value === null) return undefined;
  for (const part of Object.values(value)) {
    const found = inexactIn(part);
    if (found !== undefined) return found;
  }
  return undefined;
}

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
