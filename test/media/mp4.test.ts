import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import { BrokenMp4, wholeMp4 } from "../../src/media/mp4.ts";
import { ffmpeg, h264, makeFolder, testPicture, testSound } from "./support.ts";

/** What comes out of `wholeMp4` when `chunks` go in. */
async function passed(chunks: Uint8Array[]): Promise<Buffer> {
  const out: Buffer[] = [];
  await pipeline(Readable.from(chunks), wholeMp4(), async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) out.push(chunk);
  });
  return Buffer.concat(out);
}

/** `file`, cut at the given places. */
function cut(file: Buffer, places: number[]): Buffer[] {
  const borders = [0, ...[...places].sort((one, other) => one - other), file.length];
  return borders.slice(1).map((border, index) => file.subarray(borders[index], border));
}

interface Box {
  type: string;
  content: Buffer;
}

function box({ type, content }: Box): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(8 + content.length);
  header.write(type, 4, "latin1");
  return Buffer.concat([header, content]);
}

/** With a size of 64 bits, as encoders write it for more than 4 GiB. */
function largeBox({ type, content }: Box, size = BigInt(16 + content.length)): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32BE(1);
  header.write(type, 4, "latin1");
  header.writeBigUInt64BE(size, 8);
  return Buffer.concat([header, content]);
}

/** With a size of 0: up to the end of the file. */
function openBox({ type, content }: Box): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0]), Buffer.from(type, "latin1"), content]);
}

function boxesOf(file: Buffer): Box[] {
  const boxes: Box[] = [];
  for (let at = 0; at < file.length; ) {
    const size = file.readUInt32BE(at);
    assert.ok(size >= 8, "ffmpeg wrote a box of another kind");
    boxes.push({ type: file.toString("latin1", at + 4, at + 8), content: file.subarray(at + 8, at + size) });
    at += size;
  }
  return boxes;
}

describe("wholeMp4", () => {
  /** As encoders write it: the index last. */
  let plain: Buffer;
  /** The index first, so that it can be played while it is loaded. */
  let streamable: Buffer;
  let fragmented: Buffer;

  before(async () => {
    const { folder, remove } = await makeFolder();
    try {
      const make = async (name: string, ...flags: string[]) => {
        const sound = [...testSound(0.3), "-c:a", "aac", "-b:a", "24k"];
        await ffmpeg(...testPicture(0.3), ...sound, ...h264, ...flags, join(folder, name));
        return await readFile(join(folder, name));
      };
      plain = await make("plain.mp4");
      streamable = await make("streamable.mp4", "-movflags", "+faststart");
      fragmented = await make("fragmented.mp4", "-movflags", "frag_keyframe+empty_moov");
    } finally {
      await remove();
    }
    const order = (file: Buffer) => boxesOf(file).map(({ type }) => type);
    assert.equal(order(plain).at(-1), "moov");
    assert.equal(order(streamable)[1], "moov");
    assert.ok(order(fragmented).includes("moof"));
  });

  it("passes whole files unchanged, in whatever pieces they come", async () => {
    for (const file of [plain, streamable, fragmented]) {
      const places = fc.array(fc.integer({ min: 0, max: file.length }), { maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(places, async (cuts) => assert.ok((await passed(cut(file, cuts))).equals(file))),
        { numRuns: 50 },
      );
    }
  });

  it("passes a file that comes byte by byte", async () => {
    const bytes = Array.from(plain, (_, index) => plain.subarray(index, index + 1));
    assert.ok((await passed(bytes)).equals(plain));
  });

  it("passes on what it has before it knows the end", async () => {
    const stream = wholeMp4();
    stream.write(plain.subarray(0, 100));
    assert.ok((stream.read() as Buffer).equals(plain.subarray(0, 100)));
    stream.destroy();
  });

  it("fails on a file that breaks off at any byte, in whatever pieces it comes", async () => {
    for (let length = 0; length < plain.length; length += 1) {
      await assert.rejects(passed([plain.subarray(0, length)]), BrokenMp4, `${length} of ${plain.length} bytes`);
    }
    const places = fc.array(fc.integer({ min: 0, max: plain.length - 1 }), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(places, async (cuts) => {
        await assert.rejects(passed(cut(plain, cuts).slice(0, -1)), BrokenMp4);
      }),
    );
  });

  it("fails on a file whose index comes first and that breaks off at any byte", async () => {
    for (let length = 0; length < streamable.length; length += 1) {
      const part = streamable.subarray(0, length);
      await assert.rejects(passed([part]), BrokenMp4, `${length} of ${streamable.length} bytes`);
    }
  });

  it("fails on a file without an index", async () => {
    const boxes = boxesOf(plain).filter(({ type }) => type !== "moov");
    await assert.rejects(passed(boxes.map(box)), { name: "BrokenMp4", message: "the video is not whole" });
    // One that is only written about in the pictures does not count.
    const content = box({ type: "moov", content: Buffer.alloc(4) });
    await assert.rejects(passed([...boxes, { type: "mdat", content }].map(box)), BrokenMp4);
  });

  it("fails on more than the file", async () => {
    for (const more of [1, 7, 8, 100]) {
      await assert.rejects(passed([plain, Buffer.alloc(more, 0xff)]), BrokenMp4, `${more} bytes`);
    }
  });

  it("fails on something else", async () => {
    for (const text of ["", "<!doctype html><p>The file is gone.</p>", '{"error": "not found"}']) {
      await assert.rejects(passed([Buffer.from(text)]), BrokenMp4);
    }
  });

  it("passes boxes with a size of 64 bits, in whatever pieces", async () => {
    const boxes = boxesOf(plain);
    for (const wide of ["mdat", "moov", "ftyp"]) {
      const file = Buffer.concat(boxes.map((each) => (each.type === wide ? largeBox(each) : box(each))));
      const places = fc.array(fc.integer({ min: 0, max: file.length }), { maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(places, async (cuts) => assert.ok((await passed(cut(file, cuts))).equals(file))),
        { numRuns: 30 },
      );
      for (const length of [file.length - 1, 20, 41, 47]) {
        await assert.rejects(passed([file.subarray(0, length)]), BrokenMp4, `${wide}, ${length} bytes`);
      }
    }
  });

  it("fails on a size of more bytes than there are", async () => {
    const [type, media, ...rest] = boxesOf(streamable);
    assert.ok(type !== undefined && media !== undefined);
    for (const size of [2n ** 32n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
      await assert.rejects(
        passed([box(type), box(media), ...rest.slice(0, -1).map(box), largeBox(rest.at(-1)!, size)]),
        {
          name: "BrokenMp4",
        },
      );
    }
  });

  it("fails on a size that is smaller than the box's own header", async () => {
    const damaged = { name: "BrokenMp4", message: "the video is damaged" };
    for (let size = 2; size < 8; size += 1) {
      const header = box({ type: "free", content: Buffer.alloc(0) });
      header.writeUInt32BE(size);
      await assert.rejects(passed([plain, header]), damaged, `${size}`);
    }
    for (const size of [0n, 8n, 15n]) {
      await assert.rejects(passed([plain, largeBox({ type: "free", content: Buffer.alloc(0) }, size)]), damaged);
    }
  });

  it("passes a last box that goes on to the end", async () => {
    for (const whole of [plain, streamable]) {
      const boxes = boxesOf(whole);
      const file = Buffer.concat([...boxes.slice(0, -1).map(box), ...boxes.slice(-1).map(openBox)]);
      const places = fc.array(fc.integer({ min: 0, max: file.length }), { maxLength: 40 });
      await fc.assert(
        fc.asyncProperty(places, async (cuts) => assert.ok((await passed(cut(file, cuts))).equals(file))),
        { numRuns: 30 },
      );
    }
  });

  it("passes boxes that are empty", async () => {
    const free = box({ type: "free", content: Buffer.alloc(0) });
    const file = Buffer.concat([free, plain, free, free]);
    assert.ok((await passed([file])).equals(file));
    assert.ok((await passed(Array.from(file, (byte) => Buffer.from([byte])))).equals(file));
  });
});
