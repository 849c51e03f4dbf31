import { z } from "zod";
import { urlOf } from "../lib/url.ts";

/** A number of JSON that no JavaScript number is equal to: its digits would not come back as they were sent. */
export class InexactNumber {
  readonly digits: string;
  constructor(digits: string) {
    this.digits = digits;
  }
}

/**
 * A number as clients of the original service send it: a JSON number or a numeric string.
 * Booleans, empty strings, `NaN` and infinities are refused.
 */
function numeric(value: unknown): unknown {
  if (value instanceof InexactNumber) return Number(value.digits);
  if (typeof value === "string" && value.trim() !== "") return Number(value);
  return value;
}

/** What a client may send for a number. */
type Numeric = number | string;

/** The fields that are numbers: an empty text in one of them is a mistake, where in others it says nothing. */
export const numberFields = z.registry<{ isNumber: true }>();

/** A number between `min` and `max`, inclusive. */
export function decimal(min: number, max: number, initial: number) {
  const number = z.number().min(min).max(max);
  return z
    .preprocess<unknown, typeof number, Numeric>(numeric, number)
    .prefault(initial)
    .register(numberFields, { isNumber: true });
}

/** A whole number between `min` and `max`, inclusive; a fraction is cut off, as the original did. */
export function integer(min: number, max: number, initial: number) {
  const truncated = (value: unknown) => {
    const number = numeric(value);
    return typeof number === "number" ? Math.trunc(number) : number;
  };
  const whole = z.number().int().min(min).max(max);
  return z
    .preprocess<unknown, typeof whole, Numeric>(truncated, whole)
    .prefault(initial)
    .register(numberFields, { isNumber: true });
}

/** Presigned links with long tokens have two to five thousand; common servers take about eight. */
const MAX_URL_CHARS = 8192;

const NO_URL = "must be an http(s) URL, such as https://example.com/a.mp3";
/** Without a host after the two slashes, `new URL` takes what follows for one: `http:///a.mp3` would be the host "a.mp3". */
const hasHost = /^\s*https?:\/\/[^/\\?#]/i;
/** White space around a URL is cut off; within it, `new URL` leaves these out as if nobody had written them. */
const control = /\p{Cc}/u;

/** An absolute http(s) URL. Which addresses it may lead to is checked where it is used. */
export const httpUrl = z
  .string()
  .trim()
  .max(MAX_URL_CHARS, { error: `must be at most ${MAX_URL_CHARS} characters`, abort: true })
  .refine((url) => !control.test(url), { error: "must not have control characters or line breaks in it", abort: true })
  .refine((url) => hasHost.test(url) && urlOf(url) !== undefined, { error: NO_URL })
  .meta({ format: "uri" });

/** The latest time that is written with four figures for its year, as everybody reads it. */
export const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** A time of ISO 8601, with its zone. */
export const timeField = z.iso
  .datetime({
    offset: true,
    error: ({ code }) => (code === "invalid_format" ? "must be a time such as 2026-01-31T12:00:00Z" : undefined),
    abort: true,
  })
  .refine((text) => isKnown(Date.parse(text)), { error: "must be a time from 1970 up to 9999" });

function isKnown(ms: number): boolean {
  return ms >= 0 && ms <= LATEST_MS;
}

/** Text with something in it. */
export const someText = z.string().regex(/\S/, { error: "must not be empty" });
