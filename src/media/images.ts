import { writeFile } from "node:fs/promises";
import sharp, { type OutputInfo } from "sharp";

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
  /** Cut to even sides, as video encoders want them, and always JPEG. */
  forVideo: boolean;
}

/** A picture that cannot be used; the message continues the sentence "this picture …". */
export class ImageError extends Error {
  override name = "ImageError";
}

const JPEG_QUALITY = 95;
const TIMEOUT_SECONDS = 60;

/**
 * The first frame of a picture, upright, without metadata, scaled down (Lanczos) to fit a box. A JPEG stays one;
 * anything else becomes PNG, or JPEG on white for video.
 * @throws ImageError
 */
export async function prepareImage(source: string, target: string, options: ImageOptions): Promise<PreparedImage> {
  const { box, forVideo } = options;
  const { format, upright } = await inspect(source, options.maxPixels);
  const scale = Math.min(1, box.width / upright.width, box.height / upright.height);
  const scaled = (side: number) => {
    const pixels = Math.max(1, Math.round(side * scale));
    return forVideo ? Math.max(2, pixels - (pixels % 2)) : pixels;
  };
  const size = { width: scaled(upright.width), height: scaled(upright.height) };
  const jpeg = forVideo || format === "jpeg";
  let made: { data: Buffer; info: OutputInfo };
  try {
    const picture = open(source, options.maxPixels)
      .autoOrient()
      .resize({ ...size, fit: "fill", kernel: "lanczos3" })
      .timeout({ seconds: TIMEOUT_SECONDS })
      .toColourspace("srgb");
    const encoded = jpeg ? picture.flatten({ background: "white" }).jpeg({ quality: JPEG_QUALITY }) : picture.png();
    made = await encoded.toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw new ImageError(`cannot be decoded (${reasonOf(error, source)})`, { cause: error });
  }
  const { data, info } = made;
  await writeFile(target, data);
  return { mimeType: jpeg ? "image/jpeg" : "image/png", width: info.width, height: info.height, bytes: data.length };
}

async function inspect(source: string, maxPixels: number) {
  try {
    const { format, autoOrient } = await open(source, maxPixels).metadata();
    return { format, upright: autoOrient };
  } catch (error) {
    if (reasonOf(error, source).includes("pixel limit")) {
      throw new ImageError(`has more than ${Math.floor(maxPixels / 1_000_000)} megapixels`, { cause: error });
    }
    throw new ImageError(`cannot be decoded (${reasonOf(error, source)})`, { cause: error });
  }
}

function open(source: string, maxPixels: number) {
  return sharp(source, { limitInputPixels: maxPixels, failOn: "error" });
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
