import { rename } from "node:fs/promises";
import type { InputKind } from "../../jobs/inputs.ts";
import { ImageError, NoImage } from "../../media/imageError.ts";
import { prepareImageApart } from "../../media/imageProcess.ts";
import type { ImageOptions } from "../../media/images.ts";
import { invalid, kindOf } from "./failures.ts";
import type { Prepared, Staged } from "./staged.ts";

export const MAX_PIXELS = 50_000_000;
/** Fewer pixels show no face that a model finds. */
export const MIN_FACE_SIDE = 64;
/** A strip of what a portrait is rendered as at most, 1280 pixels wide. */
export const MAX_FACE_RATIO = 20;

type Size = Omit<ImageOptions, "maxPixels">;
const face = { minSide: MIN_FACE_SIDE, maxRatio: MAX_FACE_RATIO };
const sizes: Partial<Record<InputKind, Size>> & { picture: Size } = {
  /** What the portrait graph renders at most. */
  portrait: { ...face, box: { width: 1280, height: 720 }, forVideo: true },
  face: { ...face, box: { width: 2048, height: 2048 }, forVideo: false },
  /** Larger ones gain nothing; vision models cut a picture into patches of 28 or 32 pixels, and fail without a whole one. */
  picture: { minSide: 32, maxRatio: 50, box: { width: 2048, height: 2048 }, forVideo: false },
};

/** A picture as the models want it. @throws a sentence that says what is wrong with it */
export async function preparePicture({ input, original, target, signal }: Staged): Promise<Prepared> {
  const { field, kind } = input;
  try {
    const size = sizes[kind] ?? sizes.picture;
    const { mimeType } = await prepareImageApart(original, target, { ...size, maxPixels: MAX_PIXELS }, signal);
    const extension = mimeType === "image/jpeg" ? "jpg" : "png";
    const path = `${target}.${extension}`;
    await rename(target, path);
    return { path, extension, mimeType };
  } catch (error) {
    if (error instanceof NoImage) {
      throw invalid(field, `this is ${await kindOf(original)}, not an image that can be read`);
    }
    throw error instanceof ImageError ? invalid(field, `this picture ${error.message}`) : error;
  }
}
