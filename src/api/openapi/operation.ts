import type { z } from "zod";
import type { SchemaName } from "./schemas.ts";

export const tags = ["Submissions", "Jobs", "Operations", "Service", "Webhooks"] as const;
export type Tag = (typeof tags)[number];

/** One route, as the document describes it. */
export interface Operation {
  method: "get" | "post" | "patch" | "delete";
  /** With its parameters in braces. */
  path: string;
  operationId: string;
  tag: Exclude<Tag, "Webhooks">;
  summary: string;
  description?: string;
  /** Needs no key. */
  open?: boolean;
  parameters?: Parameter[];
  /** What validates the query. */
  query?: z.ZodObject;
  body?: { schema: SchemaName; optional?: boolean; examples: Record<string, object> };
  /** Successes, by status. */
  answers: Record<number, Answer>;
  refusals?: Refusals[];
}

export interface Parameter {
  /** The name among the components of what several operations have. */
  component?: string;
  name: string;
  in: "path" | "query" | "header";
  description: string;
  /** JSON Schema */
  schema: object;
  example?: unknown;
}

export interface Answer {
  /** As for a parameter. */
  component?: string;
  description: string;
  /** Of a JSON body. */
  schema?: SchemaName;
  /** Of a body that is not JSON. */
  mediaType?: string;
  example?: object | string;
  headers?: Headers;
}

/** By name. */
export type Headers = Record<string, { description: string; optional?: boolean }>;

/** When an error is answered: by status and `code`. */
export type Refusals = Record<number, Record<string, string>>;

interface Refusal {
  /** Among the components. */
  name: string;
  description: string;
  headers?: Headers;
}

/** What the errors of each status have in common. */
const refusals: Record<number, Refusal> = {
  400: { name: "BadRequest", description: "What was sent cannot be used" },
  401: {
    name: "Unauthorized",
    description: "A key is needed",
    headers: { "WWW-Authenticate": { description: "`Bearer`" } },
  },
  403: { name: "Forbidden", description: "The caller may not do this" },
  404: { name: "NotFound", description: "There is no such thing" },
  408: { name: "RequestTimeout", description: "The request came too slowly" },
  409: { name: "Conflict", description: "Not as things are now" },
  413: { name: "ContentTooLarge", description: "Too much was sent" },
  415: {
    name: "UnsupportedMediaType",
    description: "What was sent is of another kind",
    headers: {
      "Accept-Encoding": { description: "With `unsupported_content_encoding`: which ones are known", optional: true },
    },
  },
  416: {
    name: "RangeNotSatisfiable",
    description: "There is no such part",
    headers: { "Content-Range": { description: "How long the file is" } },
  },
  422: { name: "UnprocessableContent", description: "It contradicts what was sent before" },
  429: {
    name: "TooManyRequests",
    description: "Later",
    headers: { "Retry-After": { description: "Seconds to wait" } },
  },
  503: {
    name: "ServiceUnavailable",
    description: "Not now",
    headers: { "Retry-After": { description: "Seconds to wait, when that can help", optional: true } },
  },
};

export function refusalOf(status: number): Refusal {
  return refusals[status] ?? { name: `Error${status}`, description: "It was refused" };
}

export const ID = "3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11";

export const jobIdParameter: Parameter = {
  component: "JobId",
  name: "id",
  in: "path",
  description: "The job's id",
  schema: { type: "string", format: "uuid" },
  example: ID,
};

export const inlineParameter: Parameter = {
  name: "inline",
  in: "query",
  description: "Links open their file in a browser instead of saving it",
  schema: { type: "boolean" },
};

/** Where a key is needed. */
export const forKeys: Refusals = {
  401: { missing_key: "There is no key", invalid_key: "The key is not valid" },
  429: {
    too_many_requests: "More requests, or wrong keys, than are allowed in a minute",
    too_many_open_requests: "Too many of the caller's requests are open: streams, waits, bodies that are still to come",
  },
  503: { issuer_unavailable: "The issuer of the token cannot be reached" },
};

/** Where the key of an administrator is needed. */
export const forAdmins: Refusals = { ...forKeys, 403: { admin_required: "The key is not an administrator's" } };

/** Where Temporal is asked. */
export const forTemporal: Refusals = {
  503: {
    temporal_unavailable: "Temporal cannot be reached, or does not answer",
    temporal_overloaded: "Temporal has too much to do",
    temporal_refused: "Temporal does not accept this service's credentials",
    temporal_namespace_missing: "The namespace of this service is missing in Temporal",
  },
};

/** Where the object store is asked. */
export const forStores: Refusals = { 503: { storage_unavailable: "The object store does not answer" } };

/** Where something is changed that can be asked for again. */
export const forChanges: Refusals = {
  503: { outcome_unknown: "It is not known whether it was done; it does no harm to ask for it again" },
};

/** Where a body is read. */
export const forBodies: Refusals = {
  400: {
    invalid_body: "`errors` has a sentence per field",
    malformed_json: "The body is not JSON",
    body_incomplete: "The body broke off",
    body_not_utf8: "The body is not UTF-8",
    undecodable_body: "The body is not what its `Content-Encoding` says",
  },
  408: { body_too_slow: "The body did not come in time" },
  413: { body_too_large: "The body is too large, as it is or decoded" },
  415: {
    unsupported_media_type: "The `Content-Type` is not JSON",
    unsupported_content_encoding: "The `Content-Encoding` is none of `gzip`, `deflate` and `br`",
  },
};

export const JOB_UNREADABLE = "The job is encrypted with a key that is not there any more";

/** Where a job is named by its id. */
export const forJobs: Refusals = {
  400: { invalid_job_id: "The id is not a UUID" },
  404: { job_not_found: "The caller has no such job" },
  503: { ...forTemporal[503], ...forStores[503], job_unreadable: JOB_UNREADABLE },
};

/** All of them, by status and code. */
export function mergeRefusals(groups: readonly Refusals[]): Refusals {
  const merged: Refusals = {};
  for (const [status, codes] of groups.flatMap((group) => Object.entries(group))) {
    merged[Number(status)] = { ...merged[Number(status)], ...codes };
  }
  return merged;
}
