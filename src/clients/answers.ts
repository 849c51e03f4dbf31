/** What others answer, read no further than anybody honest would go. */

const MIB = 1024 * 1024;
/** Of a whole answer, and of one line or event of an endless one: the largest honest ones are a tenth of it. */
const MAX_ANSWER_BYTES = 32 * MIB;
const MAX_DEPTH = 100;

/** Somebody answers more than is read. */
export class AnswerTooLarge extends Error {
  override name = "AnswerTooLarge";
  constructor(maxBytes: number) {
    super(`its answer is larger than ${maxBytes / MIB} MiB`);
  }
}

/** The parts of a `Response` that are needed, of whichever `fetch`. */
interface Answer {
  body: AsyncIterable<Uint8Array> | null;
}

/**
 * The whole body as text. Bytes count as they are when they have been decompressed.
 * @throws AnswerTooLarge, and what the connection throws
 */
export async function readText({ body }: Answer, maxBytes = MAX_ANSWER_BYTES): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body ?? []) {
    bytes += part.length;
    // Leaving the loop closes the connection.
    if (bytes > maxBytes) throw new AnswerTooLarge(maxBytes);
    parts.push(part);
  }
  return new TextDecoder().decode(Buffer.concat(parts));
}

const NEWLINE = 10;
const RETURN = 13;

/**
 * Passes on a body, for somebody who reads it whole, line by line, or event by event, with an empty line behind each: it
 * fails when what has to be held at one time is too much.
 * @throws AnswerTooLarge, at whoever reads
 */
export function limitEach(
  of: "answer" | "line" | "event",
  maxBytes = MAX_ANSWER_BYTES,
): TransformStream<Uint8Array, Uint8Array> {
  let bytes = 0;
  let lineIsEmpty = true;
  return new TransformStream({
    transform(chunk, controller) {
      for (const byte of chunk) {
        bytes += 1;
        if (byte === NEWLINE) {
          if (of === "line" || (of === "event" && lineIsEmpty)) bytes = 0;
          lineIsEmpty = true;
        } else if (byte !== RETURN) lineIsEmpty = false;
        if (bytes > maxBytes) throw new AnswerTooLarge(maxBytes);
      }
      controller.enqueue(chunk);
    },
  });
}

/** undefined when it is not JSON, or nested more deeply than anything that can be meant: the rest of us would recurse. */
export function jsonOf(text: string): unknown {
  if (isTooDeep(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '"') quoted = !quoted;
    else if (quoted && sign === "\\") at += 1;
    else if (quoted) continue;
    else if (sign === "[" || sign === "{") depth += 1;
    else if (sign === "]" || sign === "}") depth -= 1;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}
