import { crc32 } from "node:zlib";

interface PngHeader {
  /** Of each channel. */
  bits: number;
  /** As the format numbers it: 0 is grey, 6 red, green and blue with opacity. */
  colourType: number;
  interlace?: number;
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const BLACK_AND_WHITE: PngHeader = { bits: 1, colourType: 0 };

/** A PNG (RFC 2083), of black and white pixels unless it says otherwise. @param data compressed, and as much of it as is wanted */
export function png(width: number, height: number, data: Buffer, kind = BLACK_AND_WHITE): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([kind.bits, kind.colourType, 0, 0, kind.interlace ?? 0], 8);
  return Buffer.concat([SIGNATURE, chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]);
}

function chunk(type: string, content: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type), content]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(content.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
