import type { SchemaName } from "./schemas.ts";

/** One route, as the document describes it. */
export interface Operation {
  method: "get" | "post" | "patch" | "delete";
  /** With its parameters in braces. */
  path: string;
  operationId: string;
  tag: "Submissions" | "Jobs" | "Operations" | "Service";
  summary: string;
  description?: string;
  /** Needs no key. */
  open?: boolean;
  parameters?: Parameter[];
  body?: { schema: SchemaName; optional?: boolean; examples: Record<string, object> };
  /** By status. */
  answers: Record<number, Answer>;
}

export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  description: string;
  /** JSON Schema */
  schema: object;
  example?: unknown;
}

export interface Answer {
  description: string;
  /** Of a JSON body. */
  schema?: SchemaName;
  /** What `code` an error can have here. */
  codes?: string[];
  /** Of a body that is not JSON. */
  mediaType?: string;
  example?: object;
  /** Headers that such an answer always has, and what they say. */
  headers?: Record<string, string>;
}

/** An answer that is not a success. */
export function refusal(description: string, codes: string[], schema: SchemaName = "Error"): Answer {
  return { description, codes, schema };
}

export const ID = "3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11";

export const jobIdParameter: Parameter = {
  name: "id",
  in: "path",
  description: "The job's id",
  schema: { type: "string", format: "uuid" },
  example: ID,
};

const invalidBodyCodes = ["invalid_body", "malformed_json", "body_incomplete"];
const retryAfter = { "Retry-After": "Seconds to wait" };

/** Where a key is needed. */
export const keyAnswers: Record<number, Answer> = {
  401: {
    ...refusal("No key, or a wrong one", ["missing_key", "invalid_key"]),
    headers: { "WWW-Authenticate": "Bearer" },
  },
};

/** Where Temporal is asked. */
export const temporalAnswers: Record<number, Answer> = {
  503: { ...refusal("Temporal cannot be reached", ["temporal_unavailable"]), headers: retryAfter },
};

/** Where a body is read. */
export const bodyAnswers: Record<number, Answer> = {
  400: refusal("A bad body; `errors` has a sentence per field", invalidBodyCodes),
  413: refusal("The body is too large", ["body_too_large"]),
  415: refusal("The body is not JSON", ["unsupported_media_type"]),
};

/** Where a job is named by its id. */
export const jobAnswers: Record<number, Answer> = {
  ...temporalAnswers,
  400: refusal("The id is not a UUID", ["invalid_job_id"]),
  404: refusal("There is no such job", ["job_not_found"]),
};

/** A bad id, or a bad body. */
export function idAndBodyAnswer(invalidId: string): Answer {
  return refusal("A bad id, or a bad body; `errors` has a sentence per field", [invalidId, ...invalidBodyCodes]);
}
