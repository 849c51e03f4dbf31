import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { scansOf } from "./jpegScans.ts";
import { inflatedPart } from "./pngData.ts";

/** What may be missing of a picture: nobody sees it. */
const MISSING_PART = 0.05;
/** Of a JPEG, whose small blocks are large beside a small picture. */
const MISSING_PIXELS = 16 * 16 * 4;

/**
 * Whether a picture that its decoder complains about is nearly whole: its file lacks its last bytes, or says something
 * wrong about itself, but the pixels are there. Half a picture is none.
 */
export async function isNearlyWhole(source: string, maxPixels: number): Promise<boolean> {
  const { format, width, height } = await sharp(source, { limitInputPixels: maxPixels, failOn: "none" }).metadata();
  if (format === "jpeg") {
    const scans = scansOf(await readFile(source));
    return scans === "baseline" ? await isFilled(source, maxPixels, width, height) : scans === "all begun";
  }
  if (format === "gif") return await isOpaqueBelow(source, maxPixels, width, height);
  if (format === "png") return (await inflatedPart(await readFile(source))) >= 1 - MISSING_PART;
  return false;
}

/** Where the data of a baseline JPEG ends, its decoder goes on in one grey: half of the range, in every block. */
async function isFilled(source: string, maxPixels: number, width: number, height: number): Promise<boolean> {
  const lower = bottomOf(width, height);
  const { data, info } = await sharp(source, { limitInputPixels: maxPixels, failOn: "none" })
    .extract(lower)
    .raw()
    .toBuffer({ resolveWithObject: true });
  let grey = 0;
  for (let at = 0; at < data.length; at += info.channels) {
    let isGrey = true;
    for (let channel = 0; channel < info.channels; channel += 1) isGrey &&= data[at + channel] === 128;
    if (isGrey) grey += 1;
  }
  return grey <= Math.max(width * height * MISSING_PART, Math.min(MISSING_PIXELS, (width * height) / 4));
}

/** Where the data of a GIF ends, its decoder leaves the picture transparent. */
async function isOpaqueBelow(source: string, maxPixels: number, width: number, height: number): Promise<boolean> {
  const options = { limitInputPixels: maxPixels, failOn: "none" } as const;
  const data = await sharp(source, options).ensureAlpha().extract(bottomOf(width, height)).raw().toBuffer();
  let missing = 0;
  for (let at = 3; at < data.length; at += 4) if (data[at] === 0) missing += 1;
  return missing <= width * height * MISSING_PART;
}

/** The lower quarter: more cannot be missing than is allowed without a part of it missing as well. */
function bottomOf(width: number, height: number) {
  const rows = Math.ceil(height / 4);
  return { left: 0, top: height - rows, width, height: rows };
}
