import { readFile } from "node:fs/promises";
import sharp from "sharp";

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
  // The decoder reads line by line: it complains when it comes to what is missing, and not before.
  const rows = Math.max(1, Math.floor(height * (1 - MISSING_PART)));
  const upper = { left: 0, top: 0, width, height: rows };
  const options = { limitInputPixels: maxPixels, failOn: "truncated", sequentialRead: true } as const;
  return await sharp(source, options)
    .extract(upper)
    .stats()
    .then(
      () => true,
      () => false,
    );
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

/**
 * What the scans of a JPEG hold. A progressive one is sharpened scan by scan (ITU T.81, G.1.1); once the last bit of every
 * coefficient has come up in one, only sharpness can be missing.
 */
function scansOf(file: Buffer): "baseline" | "all begun" | "some missing" {
  const components = new Map<number, boolean[]>();
  for (let at = 2; at + 4 <= file.length; ) {
    const marker = file[at + 1] ?? 0;
    // Fill bytes, and data between markers.
    if (file[at] !== 0xff || marker === 0x00 || marker === 0xff || (marker >= 0xd0 && marker <= 0xd8)) {
      at += 1;
      continue;
    }
    if (marker === 0xc0 || marker === 0xc1) return "baseline";
    const content = file.subarray(at + 4, at + 2 + file.readUInt16BE(at + 2));
    if (marker === 0xc2) for (let id = 6; id < content.length; id += 3) components.set(content[id] ?? 0, []);
    if (marker === 0xda) {
      const count = content[0] ?? 0;
      const [first = 0, last = 0, precision = 0] = content.subarray(1 + 2 * count);
      const isExact = (precision & 0x0f) === 0;
      for (let index = 0; isExact && index < count; index += 1) {
        const exact = components.get(content[1 + 2 * index] ?? 0);
        for (let coefficient = first; exact !== undefined && coefficient <= last; coefficient += 1)
          exact[coefficient] = true;
      }
    }
    at += 2 + file.readUInt16BE(at + 2);
  }
  const isExact = (coefficients: boolean[]) => coefficients.filter(Boolean).length === 64;
  return components.size > 0 && [...components.values()].every(isExact) ? "all begun" : "some missing";
}
