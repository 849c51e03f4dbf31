// The process that decodes one picture. Its argument is an ImageTask, what it says is in ImageWord, a line each: first what
// the header tells, if the picture can be used at all, and when it was let go on, what became of it.
import { once } from "node:events";
import { createInterface } from "node:readline";
import sharp from "sharp";
import { messageOf } from "../lib/text.ts";
import { ImageError, NoImage } from "./imageError.ts";
import type { ImageTask, ImageWord } from "./imageProcess.ts";
import { type ImageHeader, prepareImage, readHeader } from "./images.ts";

/** Of our own making: nothing here is the picture's fault. */
const TROUBLE_CODE = 255;

async function work(task: ImageTask): Promise<ImageWord> {
  try {
    if (task.what === "header") return { header: await readHeader(task.source, task.maxPixels) };
    const { source, target, options } = task;
    return { made: await prepareImage(source, target, options, admitted) };
  } catch (error) {
    if (error instanceof ImageError) return { refused: error.message, isNone: error instanceof NoImage };
    throw error;
  }
}

async function admitted(header: ImageHeader): Promise<void> {
  say({ header });
  await once(createInterface(process.stdin), "line");
}

function say(word: ImageWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

// What libraries tell the console is none of it.
console.log = () => {};
sharp.concurrency(1);
sharp.cache(false);
try {
  say(await work(JSON.parse(process.argv[2] ?? "")));
} catch (error) {
  process.stderr.write(`${messageOf(error)}\n`);
  process.exitCode = TROUBLE_CODE;
}
