import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import fc from "fast-check";
import sharp, { type Colour, type Sharp } from "sharp";
import { ImageError } from "../../src/media/imageError.ts";
import { type ImageOptions, prepareImage, readHeader } from "../../src/media/images.ts";
import { png } from "../support/png.ts";
import { makeFolder } from "./support.ts";

const MAX_PIXELS = 50_000_000;
/** Of any size, however small or narrow. */
const anySize = { maxPixels: MAX_PIXELS, minSide: 1, maxRatio: 10_000 };
const forVideo: ImageOptions = { ...anySize, box: { width: 1280, height: 720 }, forVideo: true };
const asPicture: ImageOptions = { ...anySize, box: { width: 2048, height: 2048 }, forVideo: false };

const RED = { r: 255, g: 0, b: 0 };
const BLUE = { r: 0, g: 0, b: 255 };
const solid = (width: number, height: number, background: Colour) =>
  sharp({ create: { width, height, channels: 4, background } });

describe("prepareImage", () => {
  let folder: string;
  let remove: () => Promise<void>;
  let source: string;
  let target: string;

  beforeEach(async () => {
    ({ folder, remove } = await makeFolder());
    source = join(folder, "original");
    target = join(folder, "prepared");
  });
  afterEach(() => remove());

  async function prepare(original: Sharp | Uint8Array, options: ImageOptions) {
    await writeFile(source, original instanceof Uint8Array ? original : await original.toBuffer());
    return await prepareImage(source, target, options);
  }

  /** The colour at a place of the prepared picture, given as parts of its sides: red, green, blue, alpha if any. */
  async function colourAt(x: number, y: number): Promise<number[]> {
    const { data, info } = await sharp(target).raw().toBuffer({ resolveWithObject: true });
    const start = (Math.floor(y * info.height) * info.width + Math.floor(x * info.width)) * info.channels;
    return [...data.subarray(start, start + info.channels)];
  }

  async function assertColour(x: number, y: number, wanted: number[], tolerance = 6) {
    const found = await colourAt(x, y);
    const close =
      found.length === wanted.length && found.every((part, index) => Math.abs(part - wanted[index]!) <= tolerance);
    assert.ok(close, `at ${x}, ${y} it is ${found}, not ${wanted}`);
  }

  async function failure(original: Sharp | Uint8Array, options = asPicture): Promise<ImageError> {
    const error = await prepare(original, options).then(
      () => assert.fail("it was taken for a picture"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof ImageError, String(error));
    return error;
  }

  it("turns a large photograph upright and fits it into the box of a video", async () => {
    const half = solid(3000, 4000, RED).jpeg();
    const photograph = sharp({ create: { width: 6000, height: 4000, channels: 3, background: BLUE } })
      .composite([{ input: await half.toBuffer(), left: 0, top: 0 }])
      .withMetadata({ orientation: 6 })
      .jpeg();
    const made = await prepare(photograph, forVideo);
    assert.deepEqual([made.mimeType, made.width, made.height], ["image/jpeg", 480, 720]);
    // Orientation 6: the stored left side is the top of what the camera saw.
    for (const x of [0.05, 0.5, 0.95]) {
      await assertColour(x, 0.05, [255, 0, 0]);
      await assertColour(x, 0.45, [255, 0, 0]);
      await assertColour(x, 0.55, [0, 0, 255]);
      await assertColour(x, 0.95, [0, 0, 255]);
    }
    assert.equal((await sharp(target).metadata()).orientation, undefined);
  });

  it("puts every orientation of EXIF right", async () => {
    // Upright, the picture is wider than high with one red corner, top left; each orientation stores it otherwise.
    const [width, height] = [64, 32];
    const stored: [number, (x: number, y: number) => [number, number]][] = [
      [1, (x, y) => [x, y]],
      [2, (x, y) => [width - 1 - x, y]],
      [3, (x, y) => [width - 1 - x, height - 1 - y]],
      [4, (x, y) => [x, height - 1 - y]],
      [5, (x, y) => [y, x]],
      [6, (x, y) => [y, width - 1 - x]],
      [7, (x, y) => [height - 1 - y, width - 1 - x]],
      [8, (x, y) => [height - 1 - y, x]],
    ];
    for (const [orientation, place] of stored) {
      const size = orientation < 5 ? { width, height } : { width: height, height: width };
      const pixels = Buffer.alloc(width * height * 3);
      for (let x = 0; x < width; x += 1) {
        for (let y = 0; y < height; y += 1) {
          const [column, row] = place(x, y);
          pixels[(row * size.width + column) * 3 + (x < width / 2 && y < height / 2 ? 0 : 2)] = 255;
        }
      }
      const original = sharp(pixels, { raw: { ...size, channels: 3 } })
        .jpeg({ quality: 100, chromaSubsampling: "4:4:4" })
        .withMetadata({ orientation });
      const made = await prepare(original, forVideo);
      assert.deepEqual([orientation, made.width, made.height], [orientation, width, height]);
      await assertColour(0.2, 0.2, [255, 0, 0]);
      for (const [x, y] of [
        [0.8, 0.2],
        [0.2, 0.8],
        [0.8, 0.8],
      ] as const) {
        await assertColour(x, y, [0, 0, 255]);
      }
    }
  });

  it("makes sides even for a video, and never enlarges", async () => {
    const even = async (width: number, height: number) => {
      const made = await prepare(solid(width, height, RED).png(), forVideo);
      return [made.width, made.height];
    };
    assert.deepEqual(await even(301, 201), [300, 200]);
    assert.deepEqual(await even(64, 48), [64, 48]);
    assert.deepEqual(await even(1280, 720), [1280, 720]);
    assert.deepEqual(await even(1281, 721), [1278, 720]);
    assert.deepEqual(await even(1, 1), [2, 2]);
    assert.deepEqual(await even(5000, 3), [1280, 2]);
  });

  it("fits any size into the box, with even sides and its shape kept", async () => {
    const side = fc.integer({ min: 2, max: 1500 });
    await fc.assert(
      fc.asyncProperty(side, side, async (width, height) => {
        const made = await prepare(solid(width, height, RED).png({ compressionLevel: 0 }), forVideo);
        assert.ok(made.width <= Math.min(1280, width) && made.height <= Math.min(720, height));
        assert.ok(made.width % 2 === 0 && made.height % 2 === 0);
        const scale = Math.min(1, 1280 / width, 720 / height);
        assert.ok(Math.abs(made.width - Math.max(2, width * scale)) < 2);
        assert.ok(Math.abs(made.height - Math.max(2, height * scale)) < 2);
      }),
      { numRuns: 25 },
    );
  });

  it("leaves the size of a picture that fits, odd or not", async () => {
    const small = await prepare(solid(67, 45, RED).png(), asPicture);
    assert.deepEqual([small.width, small.height], [67, 45]);
    const wide = await prepare(solid(4096, 1001, RED).png(), asPicture);
    assert.deepEqual([wide.width, wide.height], [2048, 501]);
    const high = await prepare(solid(100, 3000, RED).png(), asPicture);
    assert.deepEqual([high.width, high.height], [68, 2048]);
  });

  it("says how it was made: type, size and bytes of the file", async () => {
    const made = await prepare(solid(3000, 1500, RED).flatten().jpeg(), asPicture);
    const file = await readFile(target);
    assert.deepEqual(made, { mimeType: "image/jpeg", width: 2048, height: 1024, bytes: file.length });
    assert.equal((await sharp(file).metadata()).format, "jpeg");
    const { width, height } = await readHeader(target, MAX_PIXELS);
    assert.deepEqual([width, height], [2048, 1024]);
  });

  it("puts a transparent picture on white for a video", async () => {
    const picture = solid(64, 64, { ...RED, alpha: 0 })
      .composite([
        {
          input: await solid(32, 32, { ...RED, alpha: 1 })
            .png()
            .toBuffer(),
          left: 0,
          top: 0,
        },
        {
          input: await solid(32, 32, { ...RED, alpha: 0.5 })
            .png()
            .toBuffer(),
          left: 32,
          top: 32,
        },
      ])
      .png();
    assert.equal((await prepare(picture, forVideo)).mimeType, "image/jpeg");
    await assertColour(0.25, 0.25, [255, 0, 0]);
    await assertColour(0.75, 0.75, [255, 128, 128]);
    await assertColour(0.75, 0.25, [255, 255, 255]);
  });

  it("keeps transparency elsewhere", async () => {
    const picture = solid(64, 64, { ...RED, alpha: 0 })
      .composite([
        {
          input: await solid(32, 64, { ...RED, alpha: 0.5 })
            .png()
            .toBuffer(),
          left: 0,
          top: 0,
        },
      ])
      .png();
    assert.equal((await prepare(picture, asPicture)).mimeType, "image/png");
    await assertColour(0.25, 0.5, [255, 0, 0, 128]);
    assert.equal((await colourAt(0.75, 0.5))[3], 0);
  });

  it("takes the first frame of an animation", async () => {
    const frames = Buffer.concat(
      await Promise.all([RED, BLUE, { r: 0, g: 255, b: 0 }].map((colour) => solid(40, 30, colour).raw().toBuffer())),
    );
    const animation = () => sharp(frames, { raw: { width: 40, height: 90, channels: 4, pageHeight: 30 } });
    for (const original of [animation().gif({ delay: [100, 100, 100] }), animation().webp({ lossless: true })]) {
      const file = await original.toBuffer();
      assert.equal((await sharp(file).metadata()).pages, 3);
      const made = await prepare(file, asPicture);
      assert.deepEqual([made.mimeType, made.width, made.height], ["image/png", 40, 30]);
      for (const y of [0.1, 0.5, 0.9]) assert.deepEqual((await colourAt(0.5, y)).slice(0, 3), [255, 0, 0]);
    }
  });

  it("reads WebP and AVIF", async () => {
    for (const original of [solid(66, 44, RED).webp(), solid(66, 44, RED).avif({ effort: 0 })]) {
      const file = await original.toBuffer();
      const kept = await prepare(file, asPicture);
      assert.deepEqual([kept.mimeType, kept.width, kept.height], ["image/png", 66, 44]);
      const made = await prepare(file, forVideo);
      assert.deepEqual([made.mimeType, made.width, made.height], ["image/jpeg", 66, 44]);
      await assertColour(0.5, 0.5, [255, 0, 0], 10);
    }
  });

  it("makes 8-bit RGB of pictures in grey, in CMYK and of 16 bits", async () => {
    const grey = solid(16, 16, { r: 128, g: 128, b: 128 }).flatten().toColourspace("b-w");
    const cmyk = solid(16, 16, RED).flatten().toColourspace("cmyk").jpeg();
    const deep = solid(16, 16, RED).flatten().toColourspace("rgb16").png();
    for (const original of [grey.clone().jpeg(), grey.clone().png(), cmyk, deep]) {
      await prepare(original, forVideo);
      const { channels, depth, space } = await sharp(target).metadata();
      assert.deepEqual([channels, depth, space], [3, "uchar", "srgb"]);
    }
  });

  it("shows colours of a wider gamut as they were meant", async () => {
    const original = await solid(32, 32, { r: 200, g: 100, b: 50 }).flatten().withIccProfile("p3").png().toBuffer();
    const stored = [...(await sharp(original, { ignoreIcc: true }).raw().toBuffer()).subarray(0, 3)];
    assert.ok(Math.abs(stored[0]! - 200) > 6, `the profile changes nothing: ${stored}`);
    await prepare(original, forVideo);
    await assertColour(0.5, 0.5, [200, 100, 50]);
  });

  it("drops metadata: EXIF with its places, ICC, XMP", async () => {
    const exif = {
      IFD0: { Copyright: "someone", Make: "camera" },
      IFD3: { GPSLatitudeRef: "N", GPSLatitude: "51/1 30/1 3230/100", GPSLongitudeRef: "W" },
    };
    const xmp =
      '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>';
    const picture = () => solid(32, 32, RED).withIccProfile("p3").withExif(exif).withXmp(xmp);
    for (const original of [picture().flatten().jpeg(), picture().png(), picture().webp()]) {
      const file = await original.toBuffer();
      const before = await sharp(file).metadata();
      assert.ok(before.exif !== undefined && before.icc !== undefined && before.xmp !== undefined);
      for (const options of [forVideo, asPicture]) {
        await prepare(file, options);
        const { exif, icc, xmp, iptc, comments } = await sharp(target).metadata();
        assert.deepEqual([exif, icc, xmp, iptc, comments], [undefined, undefined, undefined, undefined, undefined]);
        assert.ok(!(await readFile(target)).includes("someone"));
      }
    }
  });

  it("refuses a picture of too many pixels by its header, without decoding it", async () => {
    const bomb = png(20_000, 20_000, deflateSync(Buffer.alloc(20_000 * 2501), { level: 1 }));
    assert.ok(bomb.length < 1_000_000);
    assert.equal((await sharp(bomb, { limitInputPixels: false }).metadata()).height, 20_000);
    assert.equal((await failure(bomb)).message, "has more than 50 megapixels");
    // The same is said when nothing that could be decoded follows the header.
    const noPixels = Buffer.from("no pixels");
    assert.equal((await failure(png(20_000, 20_000, noPixels))).message, "has more than 50 megapixels");
    assert.match(
      (await failure(png(2 ** 31 - 1, 2 ** 31 - 1, noPixels))).message,
      /^(has more than|cannot be decoded)/,
    );
  });

  it("refuses no picture of exactly the pixels that are allowed", async () => {
    const options = { ...asPicture, maxPixels: 1_000_000 };
    assert.equal((await prepare(solid(1000, 1000, RED).png(), options)).width, 1000);
    assert.equal((await failure(solid(1000, 1001, RED).png(), options)).message, "has more than 1 megapixels");
  });

  describe("of a size that no model can use", () => {
    const face = { ...forVideo, minSide: 64, maxRatio: 8 };
    for (const [width, height, complaint] of [
      [1, 1, /^is too small: 2×2 pixels as it is used, and its shorter side needs 64 at least$/],
      [63, 63, /^is too small: 62×62/],
      [
        5000,
        10,
        /^is too long and narrow: 1280×2 pixels as it is used, and one side may be 8 times the other at most$/,
      ],
      [1, 5000, /^is too long and narrow/],
      [60, 400, /^is too small/],
      [500, 4500, /^is too long and narrow/],
    ] as const) {
      it(`refuses ${width}×${height}`, async () => {
        assert.match((await failure(solid(width, height, RED).png(), face)).message, complaint);
      });
    }

    it("takes the smallest that is allowed", async () => {
      for (const [width, height] of [
        [64, 64],
        [66, 64],
        [64, 500],
        [1000, 130],
      ] as const) {
        const made = await prepare(solid(width, height, RED).png(), face);
        assert.deepEqual([made.width, made.height], [width, height]);
      }
    });
  });

  describe("as people send them", () => {
    const photograph = () =>
      sharp(randomBytes(320 * 240 * 3), { raw: { width: 320, height: 240, channels: 3 } }).blur(2);
    const jpeg = () => photograph().jpeg({ quality: 90 }).toBuffer();
    const without = (file: Buffer, part: number) => file.subarray(0, Math.floor(file.length * (1 - part)));
    const chunk = (type: string, content: Buffer, sum?: number) => {
      const body = Buffer.concat([Buffer.from(type), content]);
      const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
      length.writeUInt32BE(content.length);
      check.writeUInt32BE(sum ?? crc32(body));
      return Buffer.concat([length, body, check]);
    };
    const afterHeader = (png: Buffer, more: Buffer) => Buffer.concat([png.subarray(0, 33), more, png.subarray(33)]);

    const taken: Record<string, () => Promise<Buffer>> = {
      "a JPEG without its end": async () => (await jpeg()).subarray(0, -2),
      "a JPEG without its last bytes": async () => (await jpeg()).subarray(0, -40),
      "a JPEG without its last hundredth": async () => without(await jpeg(), 0.01),
      "a JPEG without its last thirtieth": async () => without(await jpeg(), 1 / 30),
      "a small JPEG without its last bytes": async () =>
        (
          await sharp(await jpeg())
            .resize(80, 64)
            .jpeg()
            .toBuffer()
        ).subarray(0, -20),
      "a grey JPEG without its last bytes": async () =>
        (await photograph().toColourspace("b-w").jpeg().toBuffer()).subarray(0, -20),
      "a progressive JPEG without its last bytes": async () =>
        (await photograph().jpeg({ progressive: true }).toBuffer()).subarray(0, -40),
      "a JPEG with something after it": async () => Buffer.concat([await jpeg(), randomBytes(5000)]),
      "a JPEG with broken EXIF": async () => {
        const file = await photograph().withMetadata({ orientation: 6 }).jpeg().toBuffer();
        const at = file.indexOf("Exif\0\0");
        return Buffer.concat([file.subarray(0, at + 6), randomBytes(8), file.subarray(at + 14)]);
      },
      "a PNG without its end": async () => (await photograph().png().toBuffer()).subarray(0, -12),
      "a PNG without its last bytes": async () => (await photograph().png().toBuffer()).subarray(0, -300),
      "a PNG with a wrong checksum in a comment": async () =>
        afterHeader(await photograph().png().toBuffer(), chunk("tEXt", Buffer.from("Comment\0hi"), 1)),
      "an animated PNG": async () => {
        const control = Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]);
        return afterHeader(await photograph().png().toBuffer(), chunk("acTL", control));
      },
      "a PNG with a palette": () => photograph().png({ palette: true, colours: 16 }).toBuffer(),
      "a PNG of 16 bits": () => photograph().toColourspace("rgb16").png().toBuffer(),
      "a GIF without its end": async () => (await photograph().gif().toBuffer()).subarray(0, -2),
      "a TIFF": () => photograph().tiff({ compression: "lzw" }).toBuffer(),
      "a TIFF of fax": () =>
        photograph().toColourspace("b-w").tiff({ compression: "ccittfax4", bitdepth: 1 }).toBuffer(),
      "an AVIF": () => photograph().avif({ effort: 0 }).toBuffer(),
      "a JPEG in CMYK": () => photograph().toColourspace("cmyk").jpeg().toBuffer(),
    };
    for (const [what, make] of Object.entries(taken)) {
      it(`takes ${what}`, async () => {
        for (const options of [asPicture, forVideo]) {
          const made = await prepare(await make(), options);
          assert.ok(made.width >= 64 && made.height >= 64);
          assert.equal((await sharp(target).stats()).channels.length >= 1, true);
        }
      });
    }

    const refused: Record<string, () => Promise<Buffer>> = {
      "half a JPEG": async () => without(await jpeg(), 0.5),
      "a JPEG without its last fifth": async () => without(await jpeg(), 0.2),
      "half a progressive JPEG": async () => without(await photograph().jpeg({ progressive: true }).toBuffer(), 0.5),
      "half a PNG": async () => without(await photograph().png().toBuffer(), 0.5),
      "half a GIF": async () => without(await photograph().gif().toBuffer(), 0.5),
      "half a WebP": async () => without(await photograph().webp().toBuffer(), 0.5),
      "half a TIFF": async () => without(await photograph().tiff({ compression: "lzw" }).toBuffer(), 0.5),
      "a drawing (SVG)": async () =>
        Buffer.from(
          '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200"><rect width="90" height="90"/></svg>',
        ),
      "a PDF": async () => Buffer.from("%PDF-1.4\n1 0 obj\n<<>>\nendobj\n"),
      "a PPM": async () => Buffer.concat([Buffer.from("P6\n100 100\n255\n"), Buffer.alloc(30_000)]),
    };
    for (const [what, make] of Object.entries(refused)) {
      it(`refuses ${what}`, async () => {
        assert.match((await failure(await make())).message, /^cannot be decoded \(.*\)$/);
      });
    }

    it("shows what is there of a JPEG that breaks off", async () => {
      const whole = await jpeg();
      await prepare(whole, asPicture);
      const before = await colourAt(0.3, 0.3);
      await prepare(without(whole, 0.02), asPicture);
      await assertColour(0.3, 0.3, before);
    });
  });

  describe("in HEIC", () => {
    // Half orange, half blue in Display P3, stored lying on its side; made with pillow-heif.
    const telephone = new URL("./files/turned.heic", import.meta.url);

    it("decodes it, upright and in its colours", async () => {
      const made = await prepare(await readFile(telephone), forVideo);
      assert.deepEqual([made.mimeType, made.width, made.height], ["image/jpeg", 160, 240]);
      await assertColour(0.5, 0.2, [215, 93, 32], 10);
      await assertColour(0.5, 0.8, [2, 0, 255], 10);
      assert.equal((await prepare(await readFile(telephone), asPicture)).mimeType, "image/png");
      assert.deepEqual((await readdir(folder)).toSorted(), ["original", "prepared"]);
    });

    it("refuses one that is damaged, or too large, before it is decoded", async () => {
      const file = await readFile(telephone);
      assert.match((await failure(file.subarray(0, 700))).message, /^cannot be decoded \(.*\)$/);
      const wrong = Buffer.from(file);
      wrong.fill(0x55, wrong.indexOf("mdat") + 4);
      assert.match((await failure(wrong)).message, /^cannot be decoded \(.*\)$/);
      const { message } = await failure(file, { ...asPicture, maxPixels: 30_000 });
      assert.equal(message, "has more than 0 megapixels");
    });
  });

  describe("of damaged files", () => {
    const noise = () => sharp(randomBytes(120 * 80 * 4), { raw: { width: 120, height: 80, channels: 4 } });
    const kinds: Record<string, () => Sharp> = {
      JPEG: () => noise().flatten().jpeg(),
      "progressive JPEG": () => noise().flatten().jpeg({ progressive: true }),
      PNG: () => noise().png(),
      "interlaced PNG": () => noise().png({ progressive: true }),
      WebP: () => noise().webp(),
      GIF: () => noise().gif(),
      AVIF: () => noise().avif({ effort: 0 }),
    };

    /** A sentence for the client, about the picture alone. */
    function assertTellable({ message }: ImageError) {
      assert.match(message, /^(cannot be decoded|has more than)\b/);
      assert.ok(!message.includes(folder) && !/[\\/]/.test(message), `it names a path: ${message}`);
      assert.ok(!message.includes("\n"), message);
    }

    for (const [kind, picture] of Object.entries(kinds)) {
      it(`refuses a ${kind} that breaks off, with a sentence without paths`, async () => {
        const whole = await picture().toBuffer();
        for (const part of [0.001, 0.02, 0.3, 0.5, 0.7]) {
          const broken = whole.subarray(0, Math.max(1, Math.floor(whole.length * part)));
          for (const options of [asPicture, forVideo]) assertTellable(await failure(broken, options));
        }
      });
    }

    it("refuses what is no picture", async () => {
      for (const file of [Buffer.alloc(0), randomBytes(5000), Buffer.from("<!doctype html><p>Not found</p>")]) {
        assertTellable(await failure(file));
      }
    });

    it("says nothing else of a picture with wrong bytes in it", async () => {
      const wholes = new Map<string, Buffer>();
      for (const [kind, picture] of Object.entries(kinds)) wholes.set(kind, await picture().toBuffer());
      const place = fc.double({ min: 0, max: 0.999, noNaN: true });
      const changes = fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1 });
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...Object.keys(kinds)), changes, async (kind, changed) => {
          const file = Buffer.from(wholes.get(kind)!);
          // Most of them in the headers, at the start.
          for (const [at, byte] of changed) file[Math.floor(at ** 3 * file.length)] = byte;
          const error = await prepare(file, forVideo).catch((reason: unknown) => reason);
          if (!(error instanceof Error)) return;
          assert.ok(error instanceof ImageError, String(error));
          assertTellable(error);
        }),
        { numRuns: 100 },
      );
    });
  });
});
