import { rm, writeFile } from "node:fs/promises";
import { fileTypeFromFile } from "file-type";
import sharp, { type Metadata, type OutputInfo } from "sharp";
import { isNearlyWhole } from "./damage.ts";
import { decodeHeic } from "./heic.ts";
import { FileRefused, ToolTrouble } from "./verdict.ts";

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
  signal: AbortSignal;
}

/** A picture that cannot be used; the message continues the sentence "this picture …". */
export class ImageError extends Error {
  override name = "ImageError";
}

/** Something else than a picture. */
export class NoImage extends ImageError {
  override name = "NoImage";
}

const JPEG_QUALITY = 95;
/** No picture of the allowed pixels takes that long, on whatever machine. */
const TIMEOUT_SECONDS = 300;
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
const OURS =
  /\btimeout\b|out of memory|unable to (malloc|allocate)|no space left|too many open files|unable to create thread/i;

/**
 * The first frame of a picture, upright, without metadata, scaled down (Lanczos) to fit a box. A JPEG stays one;
 * anything else becomes PNG, or JPEG on white for video.
 * @throws ImageError, and ToolTrouble where the picture may be good
 */
export async function prepareImage(source: string, target: string, options: ImageOptions): Promise<PreparedImage> {
  const { maxPixels, signal } = options;
  const type = await fileTypeFromFile(source);
  if (!signatures.includes(type?.mime)) throw new NoImage("cannot be decoded (it is none)");
  const { format, compression } = await inspect(source, maxPixels);
  if (format !== "heif" || compression === "av1") return await prepare(source, target, options);
  const decoded = `${target}.decoded`;
  try {
    await decodeHeic(source, decoded, maxPixels, signal);
    return await prepare(decoded, target, options);
  } catch (error) {
    throw error instanceof FileRefused ? new ImageError(error.message, { cause: error }) : error;
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
      if (OURS.test(String(error)) || !(await isNearlyWhole(source, maxPixels))) throw error;
      return await encode("none");
    });
  } catch (error) {
    throw failure(error, source);
  }
  const { data, info } = made;
  await writeFile(target, data);
  return { mimeType: jpeg ? "image/jpeg" : "image/png", width: info.width, height: info.height, bytes: data.length };
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
  if (OURS.test(reason)) return new ToolTrouble(`the picture could not be decoded now (${reason})`, { cause: error });
  return new ImageError(`cannot be decoded (${reason})`, { cause: error });
}

/** The library answers in several lines, the first of which says it; the path is ours and says nothing. */
function reasonOf(error: unknown, source: string): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]?.replaceAll(source, "the file") ?? "";
}

/** The size of a prepared picture, in pixels. */
export async function readImageSize(path: string): Promise<{ width: number; height: number }> {
  const { width, height } = await sharp(path).metadata();
  return { width, height };
}
