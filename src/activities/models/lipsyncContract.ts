import { z } from "zod";
import type { LipsyncContract } from "../../clients/modal.ts";
import { isName, oneLine } from "../../lib/text.ts";

/** What a lip-sync call is made of, whichever function does it. */
export interface LipsyncCall {
  jobId: string;
  version: string;
  /** `video_url` or `image_url`, and `audio_url`. */
  links: Record<string, string>;
}

/** The keyword arguments that a function of each contract takes, and no others: Python refuses what it does not know. */
const argumentsOf: Record<LipsyncContract, (call: LipsyncCall) => Record<string, unknown>> = {
  "c3-render": ({ jobId, version, links }) => ({ job_id: jobId, version, ...links }),
  // run_inference(*, video_path, audio_path, video_url, image_url, audio_url, version, use_float16)
  "musetalk-poc": ({ version, links }) => ({
    video_path: null,
    audio_path: null,
    video_url: null,
    image_url: null,
    audio_url: null,
    ...links,
    version,
    use_float16: true,
  }),
};

export function lipsyncArguments(contract: LipsyncContract, call: LipsyncCall): Record<string, unknown> {
  return argumentsOf[contract](call);
}

/** What a function answered. */
export type LipsyncAnswer =
  | { kind: "failed"; reason: string }
  | { kind: "video"; outputPath?: string; url?: string; bytes?: Uint8Array }
  | { kind: "unknown" };

// Not `video_url` and `video_path`: those are arguments, which an answer may repeat.
const URL_KEYS = ["output_url", "result_url", "url"];
const PATH_KEYS = ["output_path", "result_path", "path"];
const BYTES_KEYS = ["output", "output_bytes", "video_bytes", "video", "data", "bytes"];
/** Where some functions put all of it. */
const NESTED_KEYS = ["result", "output", "data", "video"];
const DEEPEST = 4;

const record = z.record(z.string(), z.unknown());
const address = z.url({ protocol: /^https?$/ });

/**
 * Understands the answers of both contracts, and what is like them. A failure may be told as a value, which is how
 * `musetalk-poc` does it.
 */
export function readAnswer(value: unknown, depth = 0): LipsyncAnswer {
  if (depth > DEEPEST) return { kind: "unknown" };
  if (value instanceof Uint8Array) return value.length > 0 ? { kind: "video", bytes: value } : { kind: "unknown" };
  if (typeof value === "string") return readText(value);
  if (Array.isArray(value)) return firstKnown(value, depth);
  const fields = record.safeParse(value).data;
  if (fields === undefined) return { kind: "unknown" };
  const reason = failureIn(fields);
  if (reason !== undefined) return { kind: "failed", reason };
  const url = pick(fields, URL_KEYS, (text): text is string => address.safeParse(text).success);
  const outputPath = pick(fields, PATH_KEYS, (text): text is string => typeof text === "string" && isName(text));
  const bytes = pick(fields, BYTES_KEYS, (part): part is Uint8Array => part instanceof Uint8Array && part.length > 0);
  if (url === undefined && outputPath === undefined && bytes === undefined) {
    return firstKnown(
      NESTED_KEYS.map((key) => fields[key]),
      depth,
    );
  }
  return {
    kind: "video",
    ...(url !== undefined && { url }),
    ...(outputPath !== undefined && { outputPath }),
    ...(bytes !== undefined && { bytes }),
  };
}

function readText(text: string): LipsyncAnswer {
  if (address.safeParse(text).success) return { kind: "video", url: text };
  return /^\/|\.mp4$/.test(text) && isName(text) ? { kind: "video", outputPath: text } : { kind: "unknown" };
}

function firstKnown(values: unknown[], depth: number): LipsyncAnswer {
  const answers = values.map((value) => readAnswer(value, depth + 1));
  return answers.find(({ kind }) => kind !== "unknown") ?? { kind: "unknown" };
}

function pick<T>(fields: Record<string, unknown>, keys: string[], fits: (value: unknown) => value is T): T | undefined {
  return keys.map((key) => fields[key]).find(fits);
}

const FAILED = /^(fail(ed|ure)?|error|errored|exception|timed?_?out|cancel+ed)$/i;

/** The reason, if the answer says that it failed. */
function failureIn({ status, success, ok, error, message, detail }: Record<string, unknown>): string | undefined {
  const said = [error, message, detail].find((text) => text !== undefined && text !== null && text !== "");
  const failed = typeof status === "string" && FAILED.test(status.trim());
  if (!failed && success !== false && ok !== false && !hasError(error)) return undefined;
  if (said === undefined) return "no reason given";
  return sentenceOf(typeof said === "string" ? said : JSON.stringify(said));
}

function hasError(error: unknown): boolean {
  return error !== undefined && error !== null && error !== "" && error !== false;
}

/** One line; of addresses without what signs them, for the caller reads it. Of a traceback its last line. */
export function sentenceOf(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const told = lines[0]?.includes("Traceback (most recent call last)") ? lines.at(-1) : lines[0];
  return oneLine((told ?? "no reason given").replaceAll(/(https?:\/\/[^\s'"?]+)\?[^\s'"]*/g, "$1"));
}
