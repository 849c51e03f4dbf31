import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";

const HEADER_BYTES = 8;
const LARGE_HEADER_BYTES = 16;

/** An MP4 that is not whole. */
export class BrokenMp4 extends Error {
  override name = "BrokenMp4";
}

/**
 * Passes an MP4 on and fails at its end unless it is whole: its boxes (ISO/IEC 14496-12: 32-bit size, 4-character
 * type, 64-bit size if the first one is 1) fill it exactly, and the index (`moov`) is among them. An encoder that
 * was killed leaves a file without one.
 */
export function wholeMp4(): Transform {
  let header = Buffer.alloc(0);
  /** Bytes of the current box that are still to come; Infinity: it goes on to the end. */
  let left = 0;
  let indexed = false;
  let filled = false;

  function take(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (left === 0) {
        const wanted = header.length < HEADER_BYTES || header.readUInt32BE(0) !== 1 ? HEADER_BYTES : LARGE_HEADER_BYTES;
        const part = rest.subarray(0, wanted - header.length);
        header = Buffer.concat([header, part]);
        rest = rest.subarray(part.length);
        if (header.length < wanted || (header.readUInt32BE(0) === 1 && header.length < LARGE_HEADER_BYTES)) continue;
        open();
      } else {
        const part = Math.min(left, rest.length);
        left -= part;
        rest = rest.subarray(part);
      }
    }
  }

  function open(): void {
    const size = header.readUInt32BE(0);
    const type = header.toString("latin1", 4, HEADER_BYTES);
    if (type === "moov") indexed = true;
    if (type === "mdat") filled = true;
    const whole = size === 1 ? Number(header.readBigUInt64BE(HEADER_BYTES)) : size;
    left = size === 0 ? Number.POSITIVE_INFINITY : whole - header.length;
    if (left < 0) throw new BrokenMp4("the video is damaged");
    header = Buffer.alloc(0);
  }

  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        take(chunk);
        done(null, chunk);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
    flush(done) {
      const whole = indexed && filled && header.length === 0 && (left === 0 || left === Number.POSITIVE_INFINITY);
      done(whole ? null : new BrokenMp4("the video is not whole"));
    },
  });
}

/** Reads an MP4 to its end, or to where it is seen to be broken. @throws what the reading fails with */
export async function isWholeMp4(video: Readable): Promise<boolean> {
  try {
    await pipeline(video, wholeMp4().resume());
    return true;
  } catch (error) {
    if (error instanceof BrokenMp4) return false;
    throw error;
  }
}
