import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { fileTypeFromBuffer } from "file-type";

const LOOKED_AT = 4096;
const MARK = Buffer.from("\ufeff");
/** How the files begin that people send, and what is before that: `ftyp` follows the size of its box. */
const beginnings: readonly { bytes: Buffer; before: number }[] = [
  ...["RIFF", "fLaC", "OggS", "ID3\x03", "ID3\x04", "FORM", "caff", "#!AMR", "GIF87a", "GIF89a"],
  ...["\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "\x1a\x45\xdf\xa3"],
]
  .map((text) => ({ bytes: Buffer.from(text, "latin1"), before: 0 }))
  .concat({ bytes: Buffer.from("ftyp"), before: 4 });

/**
 * Some servers put something before a file: a blank line, a byte order mark, the head of the form that it came in. Where a
 * file is of no known type, and one of a known type begins within its first bytes, that one is written to `target`.
 * @returns the path of the file that is meant
 */
export async function withoutJunk(file: string, target: string, signal: AbortSignal): Promise<string> {
  const handle = await open(file);
  const start = Buffer.alloc(LOOKED_AT);
  const { bytesRead } = await handle.read(start, 0, LOOKED_AT, 0).finally(() => handle.close());
  const head = start.subarray(0, bytesRead);
  // file-type looks behind a byte order mark; decoders do not.
  const isMarked = head.subarray(0, MARK.length).equals(MARK);
  if (!isMarked && (await fileTypeFromBuffer(head)) !== undefined) return file;
  const places = beginnings
    .flatMap(({ bytes, before }) => [head.indexOf(bytes) - before])
    .filter((at) => at > 0)
    .toSorted((a, b) => a - b);
  for (const at of places) {
    const type = await fileTypeFromBuffer(head.subarray(at));
    if (type === undefined || !/^(audio|video|image)\//.test(type.mime) || !isBinary(head.subarray(at))) continue;
    await pipeline(createReadStream(file, { start: at }), createWriteStream(target), { signal });
    return target;
  }
  return file;
}

/** A text may be about such files. */
function isBinary(start: Buffer): boolean {
  return start.subarray(0, 64).some((byte) => byte < 8);
}
