import type { Context } from "hono";
import type { z } from "zod";
import { type FieldErrors, HttpError, invalidBody, invalidQuery } from "./errors.ts";

const jsonType = /^application\/(?:[\w.-]+\+)?json\s*(?:;|$)/i;
/** A body of a megabyte can be wrong in a hundred thousand places; nobody reads so many. */
const MAX_REPORTED_FIELDS = 20;

/**
 * The JSON body of a request, as `schema` makes it.
 * @throws HttpError 415 for anything but JSON, 413 beyond `maxBytes`, 400 for malformed JSON and for a body
 * that does not fit the schema
 */
export async function readBody<T extends z.ZodType>(c: Context, schema: T, maxBytes: number): Promise<z.output<T>> {
  const contentType = c.req.header("Content-Type") ?? "";
  if (!jsonType.test(contentType)) {
    throw new HttpError(415, "unsupported_media_type", "Content-Type must be application/json");
  }
  const parsed = schema.safeParse(parseJson(await readText(c, maxBytes)), { error: sentence });
  if (!parsed.success) throw invalidBody(fieldErrors(parsed.error));
  return parsed.data;
}

/** The same, but nothing at all counts as an empty object. */
export async function readOptionalBody<T extends z.ZodType>(
  c: Context,
  schema: T,
  maxBytes: number,
): Promise<z.output<T>> {
  const isEmpty = c.req.header("Content-Type") === undefined && (c.req.header("Content-Length") ?? "0") === "0";
  return isEmpty ? schema.parse({}) : await readBody(c, schema, maxBytes);
}

/**
 * The query of a request, as `schema` makes it.
 * @throws HttpError 400
 */
export function readQuery<T extends z.ZodType>(c: Context, schema: T): z.output<T> {
  const parsed = schema.safeParse(c.req.query(), { error: sentence });
  if (!parsed.success) throw invalidQuery(fieldErrors(parsed.error));
  return parsed.data;
}

/** Stops at `maxBytes`, whatever the body says of its own length. */
async function readText(c: Context, maxBytes: number): Promise<string> {
  const tooLarge = new HttpError(413, "body_too_large", `The body is larger than ${maxBytes} bytes`);
  if (Number(c.req.header("Content-Length") ?? 0) > maxBytes) throw tooLarge;
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  const reader = c.req.raw.body?.getReader();
  try {
    for (;;) {
      const part = await reader?.read().catch(brokenOff);
      if (part?.value === undefined) return text + decoder.decode();
      bytes += part.value.byteLength;
      if (bytes > maxBytes) throw tooLarge;
      text += decoder.decode(part.value, { stream: true });
    }
  } finally {
    // The rest is taken before the answer goes out.
    reader?.releaseLock();
  }
}

function brokenOff(cause: unknown): never {
  throw new HttpError(400, "body_incomplete", "The body broke off", { cause });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
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
