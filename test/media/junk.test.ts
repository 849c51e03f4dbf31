import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { withoutJunk } from "../../src/media/junk.ts";
import { SAMPLE_RATE, wavOf } from "../../src/simulator/sound/media.ts";
import { makeFolder } from "./support.ts";

const { signal } = new AbortController();

describe("a file after something else", () => {
  let folder: string;
  let remove: () => Promise<void>;
  const wav = wavOf(new Int16Array(SAMPLE_RATE));

  before(async () => {
    ({ folder, remove } = await makeFolder());
  });
  after(() => remove());

  async function meant(file: Buffer): Promise<Buffer> {
    const path = join(folder, "file");
    await writeFile(path, file);
    return await readFile(await withoutJunk(path, join(folder, "clean"), signal));
  }

  const junk: Record<string, string | Buffer> = {
    "a byte order mark": Buffer.from("\ufeff"),
    "a blank line": "\r\n",
    "a warning of PHP": "<br />\n<b>Warning</b>:  session_start()\n",
    "the head of a form": '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
    zeros: Buffer.alloc(512),
  };
  for (const [what, before] of Object.entries(junk)) {
    it(`is found after ${what}`, async () => {
      const picture = sharp({ create: { width: 64, height: 64, channels: 3, background: "teal" } });
      for (const file of [wav, await picture.clone().jpeg().toBuffer(), await picture.clone().png().toBuffer()]) {
        assert.ok((await meant(Buffer.concat([Buffer.from(before), file]))).equals(file));
      }
    });
  }

  it("is left as it is when it is of a known type, or of none", async () => {
    const text = Buffer.from("A text about RIFF and fLaC, GIF89a and ftyp.\n".repeat(100));
    for (const file of [wav, text, Buffer.alloc(0), Buffer.alloc(9000), Buffer.concat([Buffer.alloc(5000), wav])]) {
      assert.ok((await meant(file)).equals(file));
    }
  });
});
