import { WorkflowNotFoundError } from "@temporalio/client";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { Logger } from "../../process/log.ts";
import { ObjectNotFound } from "../../storage/objectStore.ts";
import type { ApiEnv } from "../context.ts";
import { StoreUnavailable } from "./storeErrors.ts";
import { temporalTrouble } from "./temporalErrors.ts";

/** Bad fields of a body, each with a sentence. */
export type FieldErrors = Record<string, string>;

interface ErrorDetails {
  headers?: Record<string, string>;
  /** More fields of the answer's body. */
  body?: Record<string, unknown>;
  cause?: unknown;
}

/** An answer that is not a success: what the caller reads. */
export class HttpError extends Error {
  override name = "HttpError";
  readonly status: ContentfulStatusCode;
  readonly code: string;
  readonly details: ErrorDetails;

  /**
   * @param code what programs read, in snake_case
   * @param message a sentence for people
   */
  constructor(status: ContentfulStatusCode, code: string, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

const RETRY_AFTER_SECONDS = 5;

export const jobNotFound = () => new HttpError(404, "job_not_found", "Job not found");
export const invalidBody = (errors: FieldErrors) => invalid("body", errors);
export const invalidQuery = (errors: FieldErrors) => invalid("query", errors);
const invalid = (part: "body" | "query", errors: FieldErrors) => {
  const [first] = Object.entries(errors);
  const message = first === undefined ? `The ${part} is not valid` : `${first[0]}: ${first[1]}`;
  return new HttpError(400, `invalid_${part}`, message, { body: { errors } });
};

/** 503: it may be different after a while. */
export function unavailable(
  code: string,
  message: string,
  { retryAfterSeconds = RETRY_AFTER_SECONDS, ...details }: Omit<ErrorDetails, "headers"> & UnavailableFor = {},
): HttpError {
  return new HttpError(503, code, message, { ...details, headers: { "Retry-After": String(retryAfterSeconds) } });
}

interface UnavailableFor {
  retryAfterSeconds?: number;
}

/** The one place that says what a caller is told of an error; nothing internal gets out. */
function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof WorkflowNotFoundError) return jobNotFound();
  if (error instanceof ObjectNotFound) return new HttpError(404, "file_not_found", "File not found");
  if (error instanceof StoreUnavailable) return unavailable("storage_unavailable", "The object store does not answer");
  const trouble = temporalTrouble(error);
  if (trouble !== undefined) return unavailable(trouble.code, trouble.message, trouble);
  return new HttpError(500, "internal_error", "Internal server error");
}

/** Answers with the error envelope, and logs what is our own fault. */
export function errorResponse(error: unknown, c: Context<ApiEnv>, log: Logger): Response {
  const http = toHttpError(error);
  if (http.status >= 500 && error !== http) log.error({ err: error, requestId: c.var.requestId }, http.message);
  const body = { error: http.message, code: http.code, request_id: c.var.requestId, ...http.details.body };
  return c.json(body, http.status, http.details.headers);
}
