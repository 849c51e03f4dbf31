import { rm, writeFile } from "node:fs/promises";
import { fileTypeFromFile } from "file-type";
import sharp, { type Metadata, type OutputInfo } from "sharp";
import { messageOf } from "../lib/text.ts";
import { isNearlyWhole } from "./damage.ts";
import { decodeHeic } from "./heicDecoder.mjs";
import { ImageError, NoImage } from "./imageError.ts";
import { NO_MEMORY, ToolTrouble } from "./verdict.ts";

/** A picture as it was prepared. */
export interface PreparedImage {
  mimeType: "image/jpeg" | "image/png";
  /** Pixels. */
  width: number;
  height: number;
  bytes: number;
}

export interface ImageOptions {
  /** Pixels of the source that are decoded at most, all frames of it counted as one. */
  maxPixels: number;
  /** The box that it is fitted into, never enlarged. */
  box: { width: number; height: number };
  /** Pixels that its shorter side must have when it is prepared. */
  minSide: number;
  /** How much longer the longer side may be. */
  maxRatio: number;
  /** Cut to even sides, as video encoders want them, and always JPEG. */
  forVideo: boolean;
}

/** What a picture takes, as its header tells. */
export interface ImageHeader {
  /** Pixels, upright. */
  width: number;
  height: number;
  memoryBytes: number;
}

const JPEG_QUALITY = 95;
/** No picture of the allowed pixels takes that long, on whatever machine. */
const TIMEOUT_SECONDS = 300;
/** What a process takes before it decodes anything. */
const BASE_BYTES = 64 * 1024 * 1024;
/** What the decoder may be. Others (SVG, PDF) are programs of their own and lead to other files. */
const formats: readonly string[] = ["jpeg", "png", "webp", "gif", "heif", "tiff"];
/** How their files begin; nothing else is shown to the decoder. Whether it is a picture, the decoder decides. */
const signatures: readonly (string | undefined)[] = [
  "image/jpeg",
  "image/png",
  "image/apng",
  "image/webp",
  "image/gif",
  "image/avif",
  "image/heic",
  "image/heif",
  "image/heic-sequence",
  "image/heif-sequence",
  "image/tiff",
];
/** The failures of a decoder that are not the picture's. */
const OURS = /\btimeout\b|no space left|too many open files|unable to create thread/i;

/**
 * The first frame of a picture, upright, without metadata, scaled down (Lanczos) to fit a box. A JPEG stays one;
 * anything else becomes PNG, or JPEG on white for video. A stranger's picture is for a process of its own: `imageProcess.ts`.
 * @param admit is told what the header says before anything is decoded, and waited for
 * @throws ImageError, and ToolTrouble where the picture may be good
 */
export async function prepareImage(
  source: string,
  target: string,
  options: ImageOptions,
  admit: (header: ImageHeader) => Promise<void> = async () => {},
): Promise<PreparedImage> {
  const { maxPixels } = options;
  const type = await fileTypeFromFile(source);
  if (!signatures.includes(type?.mime)) throw new NoImage("cannot be decoded (it is none)");
  const metadata = await inspect(source, maxPixels);
  await admit(headerOf(metadata));
  if (metadata.format !== "heif" || metadata.compression === "av1") return await prepare(source, target, options);
  const decoded = `${target}.decoded`;
  try {
    await decodeHeic(source, decoded, maxPixels).catch((error: unknown) => {
      throw error instanceof ImageError ? error : failure(error, source);
    });
    return await prepare(decoded, target, options);
  } finally {
    await rm(decoded, { force: true });
  }
}

async function prepare(source: string, target: string, options: ImageOptions): Promise<PreparedImage> {
  const { box, forVideo, maxPixels } = options;
  const { format, autoOrient: upright } = await inspect(source, maxPixels);
  const scale = Math.min(1, box.width / upright.width, box.height / upright.height);
  const scaled = (side: number) => {
    const pixels = Math.max(1, Math.round(side * scale));
    return forVideo ? Math.max(2, pixels - (pixels % 2)) : pixels;
  };
  const size = { width: scaled(upright.width), height: scaled(upright.height) };
  checkSize(size, options);
  const jpeg = forVideo || format === "jpeg";
  const encode = async (failOn: "error" | "none") => {
    const picture = sharp(source, { limitInputPixels: maxPixels, failOn })
      .autoOrient()
      .resize({ ...size, fit: "fill", kernel: "lanczos3" })
      .timeout({ seconds: TIMEOUT_SECONDS })
      .toColourspace("srgb");
    const encoded = jpeg ? picture.flatten({ background: "white" }).jpeg({ quality: JPEG_QUALITY }) : picture.png();
    return await encoded.toBuffer({ resolveWithObject: true });
  };
  let made: { data: Buffer; info: OutputInfo };
  try {
    made = await encode("error").catch(async (error: unknown) => {
      if (isOurs(error) || !(await isNearlyWhole(source, maxPixels))) throw error;
      return await encode("none");
    });
  } catch (error) {
    throw failure(error, source);
  }
  const { data, info } = made;
  await writeFile(target, data);
  return { mimeType: jpeg ? "image/jpeg" : "image/png", width: info.width, height: info.height, bytes: data.length };
}

/** Measured: the decoders of HEIF (AVIF, HEIC) hold a picture some six times, the others three times at most. */
function headerOf({ format, channels, depth, autoOrient: { width, height } }: Metadata): ImageHeader {
  const bytes = width * height * channels * (depth === "uchar" ? 1 : 2);
  return { width, height, memoryBytes: BASE_BYTES + bytes * (format === "heif" ? 6 : 3) };
}

/** What its header says. What is wrong with the rest turns up when it is decoded. */
async function inspect(source: string, maxPixels: number): Promise<Metadata> {
  let metadata: Metadata;
  try {
    metadata = await sharp(source, { limitInputPixels: maxPixels, failOn: "none" }).metadata();
  } catch (error) {
    if (reasonOf(error, source).includes("pixel limit")) {
      throw new ImageError(`has more than ${Math.floor(maxPixels / 1_000_000)} megapixels`, { cause: error });
    }
    throw failure(error, source);
  }
  if (!formats.includes(metadata.format)) throw new ImageError(`is of a kind that is not taken (${metadata.format})`);
  return metadata;
}

function checkSize({ width, height }: { width: number; height: number }, { minSide, maxRatio }: ImageOptions): void {
  const [shorter, longer] = [Math.min(width, height), Math.max(width, height)];
  const size = `${width}×${height} pixels as it is used`;
  if (longer > maxRatio * shorter) {
    throw new ImageError(`is too long and narrow: ${size}, and one side may be ${maxRatio} times the other at most`);
  }
  if (shorter < minSide) throw new ImageError(`is too small: ${size}, and its shorter side needs ${minSide} at least`);
}

function failure(error: unknown, source: string): Error {
  const reason = reasonOf(error, source);
  if (isOurs(error)) return new ToolTrouble(String(error), { cause: error });
  return new ImageError(`cannot be decoded (${reason})`, { cause: error });
}

/** What the system says, and a lack of memory, which may be told in any of several lines. */
function isOurs(error: unknown): boolean {
  if (error instanceof RangeError || (error instanceof Error && "errno" in error)) return true;
  return OURS.test(String(error)) || NO_MEMORY.test(String(error));
}

/** The library answers in several lines, the first of which says it; the path is ours and says nothing. */
function reasonOf(error: unknown, source: string): string {
  return messageOf(error).split("\n")[0]?.replaceAll(source, "the file") ?? "";
}

/** What the header of a picture says, whatever its kind. @throws ImageError, ToolTrouble */
export async function readHeader(source: string, maxPixels: number): Promise<ImageHeader> {
  return headerOf(await inspect(source, maxPixels));
}
