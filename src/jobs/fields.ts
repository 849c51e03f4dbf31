import { z } from "zod";

/**
 * A number as clients of the original service send it: a JSON number or a numeric string.
 * Booleans, empty strings, `NaN` and infinities are refused.
 */
function numeric(value: unknown): unknown {
  if (typeof value === "string" && value.trim() !== "") return Number(value);
  return value;
}

/** What a client may send for a number. */
type Numeric = number | string;

/** A number between `min` and `max`, inclusive. */
export function decimal(min: number, max: number, initial: number) {
  const number = z.number().min(min).max(max);
  return z.preprocess<unknown, typeof number, Numeric>(numeric, number).prefault(initial);
}

/** A whole number between `min` and `max`, inclusive; a fraction is cut off, as the original did. */
export function integer(min: number, max: number, initial: number) {
  const truncated = (value: unknown) => {
    const number = numeric(value);
    return typeof number === "number" ? Math.trunc(number) : number;
  };
  const whole = z.number().int().min(min).max(max);
  return z.preprocess<unknown, typeof whole, Numeric>(truncated, whole).prefault(initial);
}

/** Presigned links with long tokens have two to five thousand; common servers take about eight. */
const MAX_URL_CHARS = 8192;

/** An absolute http(s) URL. Which addresses it may lead to is checked where it is used. */
export const httpUrl = z
  .url({ protocol: /^https?$/, error: "must be an http(s) URL" })
  .max(MAX_URL_CHARS, { error: `must be at most ${MAX_URL_CHARS} characters` });

/** Text with something in it. */
export const someText = z.string().regex(/\S/, { error: "must not be empty" });
