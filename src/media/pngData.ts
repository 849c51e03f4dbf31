import { Readable } from "node:stream";
import { constants, createInflate } from "node:zlib";

const SIGNATURE_BYTES = 8;
/** Of a chunk, besides its content: length, type, checksum. */
const CHUNK_BYTES = 12;
/** By the type of its colours: grey, -, RGB, palette, grey with alpha, -, RGBA. */
const CHANNELS = [1, 0, 3, 1, 2, 0, 4];

/** How much of the pixels of a PNG its data still has, 0–1. Zlib knows by its own checksum whether they are right. */
export async function inflatedPart(file: Buffer): Promise<number> {
  if (file.length < SIGNATURE_BYTES + CHUNK_BYTES + 13) return 0;
  const header = file.subarray(SIGNATURE_BYTES + 8);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const bits = (header[8] ?? 0) * (CHANNELS[header[9] ?? 1] ?? 0);
  // An interlaced one has some more.
  const wanted = height * (1 + Math.ceil((width * bits) / 8));
  let found = 0;
  // The end may be missing.
  const inflate = createInflate({ finishFlush: constants.Z_SYNC_FLUSH });
  Readable.from(pixelData(file)).pipe(inflate);
  try {
    for await (const chunk of inflate) found += chunk.length;
  } catch {
    return 0;
  }
  return wanted === 0 ? 0 : found / wanted;
}

function* pixelData(file: Buffer) {
  for (let at = SIGNATURE_BYTES; at + 8 <= file.length; ) {
    const length = file.readUInt32BE(at);
    if (file.toString("latin1", at + 4, at + 8) === "IDAT") yield file.subarray(at + 8, at + 8 + length);
    at += CHUNK_BYTES + length;
  }
}
