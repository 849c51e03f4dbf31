import assert from "node:assert/strict";
import { lookup } from "node:dns/promises";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { ImageError, NoImage } from "../../src/media/imageError.ts";
import { prepareImageApart, readImageSizeApart } from "../../src/media/imageProcess.ts";
import { ToolTrouble } from "../../src/media/verdict.ts";
import { eventually } from "../support/eventually.ts";
import { png } from "../support/png.ts";
import { startCounting, startedProcesses, withPeakMemory } from "./peakMemory.ts";
import { makeFolder } from "./support.ts";

const MAX_PIXELS = 50_000_000;
const options = {
  maxPixels: MAX_PIXELS,
  minSide: 1,
  maxRatio: 10_000,
  box: { width: 256, height: 256 },
  forVideo: false,
};
const flat = (width: number, height: number) =>
  sharp({ create: { width, height, channels: 3, background: "teal" }, limitInputPixels: false });
/** Of 48 megapixels, in some thousand bytes. */
let encoded: Promise<Buffer> | undefined;
const largest = () => {
  encoded ??= flat(8000, 6000).avif({ effort: 0, quality: 1 }).toBuffer();
  return encoded;
};
const tooLarge = /^(has more than 50 megapixels|cannot be decoded)/;

interface Case {
  make: () => Promise<Buffer>;
  /** What is wrong with it; it is taken when this is missing. */
  says?: RegExp;
  /** Megabytes that its process may take. */
  within?: number;
}

const cases: Record<string, Case> = {
  "AVIF of 48 megapixels": { make: largest, within: 1200 },
  "AVIF of 65536×65536, by its header": {
    make: async () => withAvifSize(await flat(64, 64).avif().toBuffer(), 65_536),
    says: tooLarge,
  },
  "AVIF of 7000×7000, by its header": {
    make: async () => withAvifSize(await flat(64, 64).avif().toBuffer(), 7000),
    says: /^cannot be decoded/,
    within: 1200,
  },
  "PNG of 2^31 pixels a side": { make: async () => bomb(0x7fffffff, 0x7fffffff), says: tooLarge },
  "PNG of 50,000×1,001": { make: async () => bomb(50_000, 1001), says: /^has more than 50 megapixels$/ },
  "interlaced PNG of 48 megapixels and 16 bits": {
    make: async () => bomb(8000, 6000, 1),
    says: /^cannot be decoded/,
    within: 700,
  },
  "WebP of 16383×16383": {
    make: async () => {
      const file = await flat(16, 16).webp({ lossless: true }).toBuffer();
      file.writeUInt32LE(((16_382 << 14) | 16_382) >>> 0, file.indexOf("VP8L") + 9);
      return file;
    },
    says: tooLarge,
  },
  "GIF of 65535×65535": { make: () => gif({ width: 65_535, height: 65_535, frames: 1 }), says: tooLarge },
  "GIF of 50,000 frames": { make: () => gif({ width: 1, height: 1, frames: 50_000 }) },
  "JPEG of 65500×65500": {
    make: async () => {
      const file = await flat(16, 16).jpeg().toBuffer();
      const at = file.indexOf("\xff\xc0", 0, "latin1");
      file.writeUInt16BE(65_500, at + 5);
      file.writeUInt16BE(65_500, at + 7);
      return file;
    },
    says: tooLarge,
  },
  "TIFF of 65535×65535": { make: async () => tiff(65_535, 1), says: tooLarge },
  "TIFF of 20,000 pages": { make: async () => tiff(1, 20_000) },
  "JPEG XL": {
    make: async () => Buffer.concat([Buffer.from([0xff, 0x0a]), Buffer.alloc(200, 0xff)]),
    says: /it is none/,
  },
  "BMP of 30000×30000": {
    make: async () => {
      const file = Buffer.alloc(2000);
      file.write("BM");
      file.writeUInt32LE(54, 10);
      file.writeUInt32LE(40, 14);
      file.writeInt32LE(30_000, 18);
      file.writeInt32LE(30_000, 22);
      file.writeUInt16LE(1, 26);
      file.writeUInt16LE(24, 28);
      return file;
    },
    says: /it is none/,
  },
  "ICO with a large PNG in it": {
    make: async () => {
      const inner = bomb(30_000, 30_000);
      const head = Buffer.alloc(22);
      head.writeUInt16LE(1, 2);
      head.writeUInt16LE(1, 4);
      head.writeUInt32LE(inner.length, 14);
      head.writeUInt32LE(22, 18);
      return Buffer.concat([head, inner]);
    },
    says: /it is none/,
  },
};

describe("pictures that want the machine for themselves", () => {
  let folder: string;
  let remove: () => Promise<void>;
  let source: string;
  const { signal } = new AbortController();

  beforeEach(async () => {
    ({ folder, remove } = await makeFolder());
    source = join(folder, "original");
    startCounting();
  });
  afterEach(async () => {
    await remove();
    assert.deepEqual(startedProcesses(), []);
  });

  for (const [what, { make, says, within = 300 }] of Object.entries(cases)) {
    it(`are ${says === undefined ? "taken" : "refused"} within little memory: ${what}`, async () => {
      await writeFile(source, await make());
      const { result, megabytes } = await withPeakMemory(() =>
        prepareImageApart(source, join(folder, "target"), options, signal).catch((error: unknown) => error),
      );
      if (says === undefined) {
        assert.ok(!(result instanceof Error), String(result));
      } else {
        assert.ok(result instanceof ImageError, String(result));
        assert.match(result.message, says);
        assert.ok(!result.message.includes(folder), result.message);
      }
      assert.ok(megabytes < within, `${megabytes} MB`);
    });
  }

  it("hold up neither files nor names of this process, and take their memory in turn", async () => {
    await writeFile(source, await largest());
    let done = 0;
    const work = Array.from({ length: 3 }, async (_, index) => {
      await prepareImageApart(source, join(folder, `target-${index}`), options, signal);
      done += 1;
    });
    let slowest = 0;
    let most = 0;
    while (done < work.length) {
      const startedAt = performance.now();
      await Promise.all([stat(source), lookup("localhost")]);
      slowest = Math.max(slowest, performance.now() - startedAt);
      const used = await Promise.all(startedProcesses().map(residentMegabytes));
      most = Math.max(
        most,
        used.reduce((sum, each) => sum + each, 0),
      );
      await delay(5);
    }
    await Promise.all(work);
    assert.ok(slowest < 2000, `${slowest} ms`);
    assert.ok(most === 0 || most < 1600, `${most} MB together`);
  });

  it("leave nothing running when nobody waits for them any more, nor take the place of others", async () => {
    await writeFile(source, await largest());
    for (let round = 0; round < 3; round += 1) {
      const controller = new AbortController();
      const preparing = [1, 2, 3, 4].map((index) =>
        assert.rejects(prepareImageApart(source, join(folder, `${index}`), options, controller.signal), /not wanted/),
      );
      await eventually("a process runs", () => startedProcesses().length > 0 || undefined);
      controller.abort(new Error("not wanted"));
      await Promise.all(preparing);
      assert.deepEqual(startedProcesses(), []);
    }
    await writeFile(source, await flat(300, 300).png().toBuffer());
    assert.equal((await prepareImageApart(source, join(folder, "target"), options, signal)).width, 256);
  });

  it("are prepared as in this process: a photograph of a telephone (HEIC)", async () => {
    await writeFile(source, await readFile(new URL("./files/turned.heic", import.meta.url)));
    const made = await prepareImageApart(source, join(folder, "target"), { ...options, forVideo: true }, signal);
    assert.deepEqual([made.mimeType, made.width, made.height], ["image/jpeg", 160, 240]);
    assert.deepEqual(await readImageSizeApart(join(folder, "target"), MAX_PIXELS, signal), { width: 160, height: 240 });
  });

  it("are not blamed for a place that cannot be written to", async () => {
    await writeFile(source, await flat(64, 64).png().toBuffer());
    const target = join(folder, "no", "such", "folder");
    await assert.rejects(prepareImageApart(source, target, options, signal), ToolTrouble);
  });

  it("are told from what is none", async () => {
    await writeFile(source, "Hello there.");
    await assert.rejects(prepareImageApart(source, join(folder, "target"), options, signal), NoImage);
  });
});

async function residentMegabytes(pid: string): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "latin1").catch(() => "");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024;
}

/** Every size that the file tells of its picture. */
function withAvifSize(file: Buffer, side: number): Buffer {
  const at = file.indexOf("ispe") + 8;
  file.writeUInt32BE(side, at);
  file.writeUInt32BE(side, at + 4);
  return file;
}

/** Of more pixels than it has, in four channels. */
function bomb(width: number, height: number, interlace = 0): Buffer {
  const bits = interlace === 0 ? 8 : 16;
  return png(width, height, deflateSync(Buffer.alloc(100_000)), { bits, colourType: 6, interlace });
}

async function gif({ width, height, frames }: { width: number; height: number; frames: number }): Promise<Buffer> {
  const one = await flat(1, 1).gif().toBuffer();
  const start = one.indexOf(0x2c, 13 + 3 * 2 ** (((one[10] ?? 0) & 7) + 1));
  const head = Buffer.from(one.subarray(0, start));
  head.writeUInt16LE(width, 6);
  head.writeUInt16LE(height, 8);
  const frame = Buffer.from(one.subarray(start, -1));
  frame.writeUInt16LE(width, 5);
  frame.writeUInt16LE(height, 7);
  return Buffer.concat([head, ...Array.from({ length: frames }, () => frame), Buffer.from([0x3b])]);
}

/** Black, of one strip a page. */
function tiff(side: number, pages: number): Buffer {
  const entries: [number, number, number][] = [
    [256, 4, side],
    [257, 4, side],
    [258, 3, 8],
    [259, 3, 1],
    [262, 3, 1],
    [273, 4, 8],
    [277, 3, 1],
    [278, 4, side],
    [279, 4, 1],
  ];
  const size = 2 + 12 * entries.length + 4;
  const file = Buffer.alloc(16 + pages * size);
  file.write("II*\0", "latin1");
  file.writeUInt32LE(16, 4);
  for (let page = 0; page < pages; page += 1) {
    let at = 16 + page * size;
    file.writeUInt16LE(entries.length, at);
    at += 2;
    for (const [tag, type, value] of entries) {
      file.writeUInt16LE(tag, at);
      file.writeUInt16LE(type, at + 2);
      file.writeUInt32LE(1, at + 4);
      file.writeUInt32LE(value, at + 8);
      at += 12;
    }
    file.writeUInt32LE(page + 1 < pages ? 16 + (page + 1) * size : 0, at);
  }
  return file;
}
