import { promisify } from "node:util";
import { brotliDecompress, gunzip, type InputType, inflate, inflateRaw, type ZlibOptions } from "node:zlib";
import { HttpError } from "./errors.ts";

type Decoder = (bytes: InputType, options: ZlibOptions) => Promise<Buffer>;

const asZlib = promisify<InputType, ZlibOptions, Buffer>(inflate);
const asRaw = promisify<InputType, ZlibOptions, Buffer>(inflateRaw);
const asGzip = promisify<InputType, ZlibOptions, Buffer>(gunzip);

const decoders: Record<string, Decoder> = {
  gzip: asGzip,
  "x-gzip": asGzip,
  br: promisify<InputType, ZlibOptions, Buffer>(brotliDecompress),
  // Some programs leave out the header of zlib, whose first byte ends in an 8.
  deflate: (bytes, options) =>
    ((Buffer.from(bytes as Uint8Array)[0] ?? 0) & 0x0f) === 8 ? asZlib(bytes, options) : asRaw(bytes, options),
};
const ACCEPTED = "gzip, deflate, br";
/** Each one is decoded as a whole before the next. */
const MAX_ENCODINGS = 2;

/**
 * The encodings of a body (`Content-Encoding`), the first one applied first.
 * @throws HttpError 415 for one that is not known
 */
export function encodingsOf(header: string | undefined): string[] {
  const names = (header ?? "").split(",").map((name) => name.trim().toLowerCase());
  const encodings = names.filter((name) => name !== "" && name !== "identity");
  const unknown = encodings.find((name) => !Object.hasOwn(decoders, name));
  if (unknown === undefined && encodings.length <= MAX_ENCODINGS) return encodings;
  const message = `Content-Encoding must be one of ${ACCEPTED}`;
  throw new HttpError(415, "unsupported_content_encoding", message, { headers: { "Accept-Encoding": ACCEPTED } });
}

/**
 * @throws HttpError 400 for a body that is not what its encodings say
 * @throws `tooLarge` for one of more than `maxBytes` when it is decoded
 */
export async function decoded(
  bytes: Uint8Array,
  encodings: readonly string[],
  { maxBytes, tooLarge }: { maxBytes: number; tooLarge: HttpError },
): Promise<Uint8Array> {
  let content = bytes;
  for (const encoding of encodings.toReversed()) {
    try {
      content = (await decoders[encoding]?.(content, { maxOutputLength: maxBytes })) ?? content;
    } catch (cause) {
      if (cause instanceof RangeError && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE") throw tooLarge;
      const message = `The body is not ${encoding}, as its Content-Encoding says`;
      throw new HttpError(400, "undecodable_body", message, { cause });
    }
  }
  return content;
}
