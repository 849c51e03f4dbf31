import type { Context } from "hono";
import type { z } from "zod";
import type { ApiConfig } from "../../config/index.ts";
import { TooLate, withinTime } from "../../lib/timeLimit.ts";
import { decoded, encodingsOf } from "./contentEncoding.ts";
import { type FieldErrors, HttpError, invalidBody, invalidQuery } from "./errors.ts";
import { parseJson } from "./json.ts";

const jsonType = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;
/** A body of a megabyte can be wrong in a hundred thousand places; nobody reads so many. */
const MAX_REPORTED_FIELDS = 20;

type BodyLimits = Pick<ApiConfig, "maxBodyBytes" | "bodyTimeoutMs">;

/**
 * The JSON body of a request, as `schema` makes it.
 * @throws HttpError 415 for anything but JSON in an encoding that is known, 413 beyond the limit, 408 when it does
 * not come in time, 400 for malformed JSON, for what is not UTF-8, and for a body that does not fit the schema
 */
export async function readBody<T extends z.ZodType>(c: Context, schema: T, limits: BodyLimits): Promise<z.output<T>> {
  const contentType = c.req.header("Content-Type") ?? "";
  if (!jsonType.test(contentType)) {
    throw new HttpError(415, "unsupported_media_type", "Content-Type must be application/json");
  }
  const parsed = schema.safeParse(jsonOf(await readText(c, limits)), { error: sentence });
  if (!parsed.success) throw invalidBody(fieldErrors(parsed.error));
  return parsed.data;
}

/** The same, but nothing at all counts as an empty object. */
export async function readOptionalBody<T extends z.ZodType>(
  c: Context,
  schema: T,
  limits: BodyLimits,
): Promise<z.output<T>> {
  const isEmpty = c.req.header("Content-Type") === undefined && (c.req.header("Content-Length") ?? "0") === "0";
  return isEmpty ? schema.parse({}) : await readBody(c, schema, limits);
}

/**
 * The query of a request, as `schema` makes it.
 * @throws HttpError 400
 */
export function readQuery<T extends z.ZodType>(c: Context, schema: T): z.output<T> {
  // A form sends its empty fields, too.
  const given = Object.fromEntries(Object.entries(c.req.query()).filter(([, value]) => value !== ""));
  const parsed = schema.safeParse(given, { error: sentence });
  if (!parsed.success) throw invalidQuery(fieldErrors(parsed.error));
  return parsed.data;
}

/** Stops at so many bytes, whatever the body says of its own length. */
async function readText(c: Context, { maxBodyBytes: maxBytes, bodyTimeoutMs }: BodyLimits): Promise<string> {
  const tooLarge = new HttpError(413, "body_too_large", `The body is larger than ${maxBytes} bytes`);
  if (Number(c.req.header("Content-Length") ?? 0) > maxBytes) throw tooLarge;
  const encodings = encodingsOf(c.req.header("Content-Encoding"));
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const endsAt = performance.now() + bodyTimeoutMs;
  const reader = c.req.raw.body?.getReader();
  try {
    for (;;) {
      const part = reader && (await withinTime(reader.read(), endsAt - performance.now()).catch(brokenOff));
      if (part?.value === undefined) break;
      bytes += part.value.byteLength;
      if (bytes > maxBytes) throw tooLarge;
      parts.push(part.value);
    }
  } finally {
    // The rest is taken before the answer goes out.
    reader?.releaseLock();
  }
  return utf8(await decoded(Buffer.concat(parts), encodings, { maxBytes, tooLarge }));
}

/** Without the mark of the byte order that some programs put first. */
function utf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new HttpError(400, "body_not_utf8", "The body is not UTF-8", { cause });
  }
}

function brokenOff(cause: unknown): never {
  // What is still to come of it is nobody's next request.
  const headers = { Connection: "close" };
  if (cause instanceof TooLate) throw new HttpError(408, "body_too_slow", "The body came too slowly", { headers });
  throw new HttpError(400, "body_incomplete", "The body broke off", { cause });
}

function jsonOf(text: string): unknown {
  try {
    return parseJson(text);
  } catch (error) {
    // The latter when it is nested so deep that the stack ends.
    if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
    throw new HttpError(400, "malformed_json", "The body is not valid JSON");
  }
}

function fieldErrors(error: z.ZodError): FieldErrors {
  const errors: FieldErrors = {};
  for (const { path, message } of error.issues.slice(0, MAX_REPORTED_FIELDS)) {
    const field = path.length === 0 ? "body" : path.join(".");
    errors[field] ??= message;
  }
  return errors;
}

/** Zod's findings in plain words; schemas that say something themselves go first. */
function sentence(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be ${withArticle(issue.expected)}`;
    case "invalid_value":
      return `must be one of ${issue.values.join(", ")}`;
    case "too_small":
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}`;
    case "too_big":
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}`;
    default:
      return undefined;
  }
}

function withArticle(type: string): string {
  if (type === "int") return "a whole number";
  return /^[aeio]/.test(type) ? `an ${type}` : `a ${type}`;
}

function unitOf(origin: string): string {
  if (origin === "string") return " characters long";
  return origin === "array" ? " items long" : "";
}
