import { randomUUID } from "node:crypto";
import { InexactNumber } from "../../jobs/fields.ts";

/** Where there is none of these, every number is one of JavaScript's. */
const suspicious = /\d{16}|[eE]\+?\d{3}/;
const numberAt = /-?\d[\d.eE+-]*/y;

/**
 * A JSON text. Whole numbers that JavaScript would change, and those beyond its largest, become an `InexactNumber`.
 * @throws SyntaxError; RangeError when it is nested too deep
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (!suspicious.test(text)) return value;
  const mark = `${randomUUID()}:`;
  const marked = withMarks(text, mark);
  if (marked === text) return value;
  return JSON.parse(marked, (_name, part) =>
    typeof part === "string" && part.startsWith(mark) ? new InexactNumber(part.slice(mark.length)) : part,
  );
}

/** `text`, which is JSON, with a string that starts with `mark` in the place of every number that would be changed. */
function withMarks(text: string, mark: string): string {
  let marked = "";
  let copied = 0;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text.charAt(at);
    if (sign === '"') at = endOfString(text, at);
    else if (sign === "-" || (sign >= "0" && sign <= "9")) {
      numberAt.lastIndex = at;
      const digits = numberAt.exec(text)?.[0] ?? sign;
      const end = at + digits.length;
      if (!isExact(digits)) {
        marked += `${text.slice(copied, at)}"${mark}${digits}"`;
        copied = end;
      }
      at = end - 1;
    }
  }
  return marked + text.slice(copied);
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    const sign = text.charAt(at);
    if (sign === "\\") at += 1;
    else if (sign === '"') return at;
  }
  return text.length;
}

/** Fractions are as near as a double is, for every reader of JSON; ids and the like are whole numbers. */
function isExact(digits: string): boolean {
  const value = Number(digits);
  if (!Number.isFinite(value)) return false;
  return /[.eE]/.test(digits) || BigInt(value) === BigInt(digits);
}
