import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ProcessLimits } from "../process/processLimits.ts";
import { Gate } from "./gate.ts";
import { ImageError, NoImage } from "./imageError.ts";
import type { ImageHeader, ImageOptions, PreparedImage } from "./images.ts";
import { run } from "./program.ts";
import { againAfterCrash, FileRefused, ToolTrouble } from "./verdict.ts";

export type ImageTask =
  | { what: "header"; source: string; maxPixels: number }
  | { what: "prepare"; source: string; target: string; options: ImageOptions };

export type ImageWord = { header: ImageHeader } | { made: PreparedImage } | { refused: string; isNone: boolean };

const isSource = import.meta.url.endsWith(".ts");
const program = fileURLToPath(new URL(`./imageProgram.${isSource ? "ts" : "js"}`, import.meta.url));
const MEGABYTE = 1024 * 1024;
/** Fifty megapixels of AVIF take 0.9 GB. */
const LIMITS: ProcessLimits = { memoryBytes: 1600 * MEGABYTE, cpuSeconds: 120, fileBytes: 512 * MEGABYTE };
/** Fifty megapixels take ten seconds on a slow machine; it does not tell how far it is. */
const STALL_MS = 180_000;

/** What all pictures that this process has decoded may take together. */
const memory = new Gate(1024 * MEGABYTE);

/**
 * Prepares a stranger's picture as `prepareImage` does, in a process of its own: a decoder may neither crash this one, nor
 * stop what waits for its threads, nor take its memory.
 * @throws ImageError, ToolTrouble, the signal's reason
 */
export async function prepareImageApart(
  source: string,
  target: string,
  options: ImageOptions,
  signal: AbortSignal,
): Promise<PreparedImage> {
  try {
    const word = await againAfterCrash(() => prepareOnce({ what: "prepare", source, target, options }, signal));
    if ("made" in word) return word.made;
    throw new ToolTrouble("the decoder of pictures said nothing of use");
  } catch (error) {
    throw error instanceof FileRefused
      ? new ImageError(`cannot be decoded (${error.message})`, { cause: error })
      : error;
  }
}

/** Its size in pixels, read in the same way. */
export async function readImageSizeApart(
  source: string,
  maxPixels: number,
  signal: AbortSignal,
): Promise<{ width: number; height: number }> {
  const word = await ask({ what: "header", source, maxPixels }, signal);
  if (!("header" in word)) throw new ToolTrouble("the decoder of pictures said nothing of use");
  const { width, height } = word.header;
  return { width, height };
}

/** One process, which decodes when there is memory for what its header says. */
async function prepareOnce(task: ImageTask, signal: AbortSignal): Promise<ImageWord> {
  const ended = new AbortController();
  let free = () => {};
  try {
    return await ask(task, signal, async (line) => {
      const word = wordOf(line);
      if ("header" in word) free = await memory.enter(word.header.memoryBytes, ended.signal);
      return "go\n";
    });
  } finally {
    ended.abort();
    free();
  }
}

async function ask(
  task: ImageTask,
  signal: AbortSignal,
  answer?: (line: string) => Promise<string>,
): Promise<ImageWord> {
  const loader = isSource ? ["--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href] : [];
  const args = ["--max-old-space-size=512", ...loader, program, JSON.stringify(task)];
  const options = {
    name: "the decoder of pictures",
    signal,
    stallMs: STALL_MS,
    limits: LIMITS,
    ...(answer && { answer }),
  };
  const output = await run(process.execPath, args, options);
  const word = wordOf(output.trim().split("\n").at(-1) ?? "");
  if ("refused" in word) throw new (word.isNone ? NoImage : ImageError)(word.refused);
  return word;
}

function wordOf(line: string): ImageWord {
  try {
    return JSON.parse(line) as ImageWord;
  } catch (error) {
    throw new ToolTrouble("the decoder of pictures said nothing of use", { cause: error });
  }
}
