import type { MiddlewareHandler } from "hono";
import type { ApiEnv } from "../context.ts";

/** Of a body that says how long it is, and of one that may never end. */
const MAX_BYTES = 32 * 1024 * 1024;
const MAX_BYTES_OF_UNKNOWN_LENGTH = 4 * 1024 * 1024;
const MAX_MS = 5000;

/**
 * Reads what an answer did without of its request's body, within bounds. Who is refused while it still sends would see
 * its connection close, and perhaps not read the answer.
 */
export function unreadBody(): MiddlewareHandler<ApiEnv> {
  return async function unreadBody(c, next) {
    await next();
    const { body, method } = c.req.raw;
    if (method === "GET" || method === "HEAD" || body === null || body.locked) return;
    // It was waited for.
    if (c.res.status === 408) return;
    const maxBytes = c.req.header("Content-Length") === undefined ? MAX_BYTES_OF_UNKNOWN_LENGTH : MAX_BYTES;
    await discard(body.getReader(), maxBytes);
  };
}

async function discard(reader: ReadableStreamDefaultReader<Uint8Array>, maxBytes: number): Promise<void> {
  const deadline = AbortSignal.timeout(MAX_MS);
  const late = new Promise<undefined>((resolve) => {
    deadline.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  let bytes = 0;
  try {
    while (bytes <= maxBytes) {
      const part = await Promise.race([reader.read(), late]);
      if (part?.value === undefined) return;
      bytes += part.value.byteLength;
    }
  } catch {
    // The client has gone, and reads no answer.
  }
}
