// Plain JavaScript, because libheif-js has no types.
import { readFile, writeFile } from "node:fs/promises";
import { setFlagsFromString } from "node:v8";
import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { ImageError } from "./imageError.ts";

/** A PNG begins with its signature and the chunk with its size; a colour profile comes next. */
const PNG_START = 33;

/**
 * Makes a PNG, upright and with its colour profile, of a picture in HEVC, which the decoders of `sharp` are built without.
 * libheif, compiled to WebAssembly, blocks while it works.
 * @param {string} source @param {string} target @param {number} maxPixels
 * @throws ImageError
 */
export async function decodeHeic(source, target, maxPixels) {
  // 1 GiB: a picture of 50 megapixels takes half of that. To be said before the decoder is loaded.
  setFlagsFromString("--wasm-max-mem-pages=16384");
  const { default: libheif } = await import("libheif-js/wasm-bundle.js");
  const decoder = new libheif.HeifDecoder();
  const file = await readFile(source);
  // All pictures of the file, the primary one among them; nothing is decoded yet.
  const images = decoder.decode(file);
  const image = images.find((each) => each.is_primary()) ?? images[0];
  if (image === undefined) throw new ImageError("cannot be decoded (it is a damaged HEIC)");
  // As they are seen: libheif turns the picture by itself.
  const [width, height] = [image.get_width(), image.get_height()];
  if (width * height > maxPixels) throw new ImageError(`has more than ${Math.floor(maxPixels / 1_000_000)} megapixels`);
  const data = new Uint8ClampedArray(width * height * 4);
  const decoded = await new Promise((resolve) => image.display({ data, width, height }, resolve));
  if (!decoded) throw new ImageError("cannot be decoded (its HEVC is damaged, or of a rare kind)");
  const raw = { width, height, channels: 4 };
  const png = await sharp(Buffer.from(data.buffer), { raw }).png({ compressionLevel: 1 }).toBuffer();
  await writeFile(target, withProfile(png, await profileOf(file)));
}

/** The colours are those of the file: telephones use a wider gamut, and say so in a profile. */
async function profileOf(file) {
  try {
    return (await sharp(file, { limitInputPixels: false }).metadata()).icc;
  } catch {
    // What sharp cannot read is taken for sRGB.
    return undefined;
  }
}

function withProfile(png, icc) {
  if (icc === undefined) return png;
  const body = Buffer.concat([Buffer.from("iCCPicc\0\0", "latin1"), deflateSync(icc)]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length - 4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([png.subarray(0, PNG_START), length, body, sum, png.subarray(PNG_START)]);
}
