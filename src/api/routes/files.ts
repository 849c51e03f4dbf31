import { Readable } from "node:stream";
import { Hono } from "hono";
import { disposition } from "../../storage/disposition.ts";
import { nameOf } from "../../storage/endedJob.ts";
import { opensFile } from "../../storage/fileLinks.ts";
import type { FilesystemStore } from "../../storage/filesystem.ts";
import { type ObjectInfo, ObjectNotFound, type ObjectStore } from "../../storage/objectStore.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { isYes } from "../http/flags.ts";
import { type ByteRange, rangeOf } from "../http/range.ts";
import { etagOf, isKnownTo } from "../http/validators.ts";

/** The files that signed links lead to; none when the object store serves its own. */
export function fileRoutes({ store }: ApiDeps) {
  const routes = new Hono<ApiEnv>();
  if (!servesLinks(store)) return routes;
  return routes.get("/files/:key{[^]+}", async (c) => {
    const key = c.req.param("key");
    const query = new URL(c.req.url).searchParams;
    const opens = opensFile(await store.linkSecret(), key, query);
    if (opens === "expired") throw new HttpError(403, "link_expired", "The link has expired");
    if (opens === "no") throw new HttpError(403, "invalid_link", "The link is not valid");
    const info = await store.head(key);
    if (info === undefined) throw new ObjectNotFound(key);
    const kind = isYes(query.get("inline") ?? undefined) ? "inline" : "attachment";
    const headers = headersOf(info, disposition(kind, query.get("download") ?? nameOf(key)));
    if (isKnownTo(c.req.raw.headers, info)) return c.body(null, 304, headers);
    const whole = { ...headers, "Content-Type": info.contentType, "Content-Length": String(info.bytes) };
    // A part can only be asked for with GET; and nobody would read, and so close, the body of an answer to HEAD.
    if (c.req.method === "HEAD") return c.body(null, 200, whole);
    const range = rangeOf(c.req.raw.headers, info);
    const { body } = await store.get(key, range && { range });
    if (range === undefined) return c.body(Readable.toWeb(body), 200, whole);
    return c.body(Readable.toWeb(body), 206, { ...whole, ...partHeaders(range, info.bytes) });
  });
}

/** Whether the links to stored files lead here. */
export function servesLinks(store: ObjectStore): store is FilesystemStore {
  return "linkSecret" in store;
}

/** Nothing in a file that is shown may run: a transcript is HTML, and says what somebody has said. */
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";

function headersOf(info: ObjectInfo, contentDisposition: string): Record<string, string> {
  return {
    "Accept-Ranges": "bytes",
    ETag: etagOf(info),
    "Last-Modified": info.lastModified.toUTCString(),
    "Content-Disposition": contentDisposition,
    "Cache-Control": "private",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Resource-Policy": "cross-origin",
  };
}

function partHeaders({ start, end }: ByteRange, bytes: number): Record<string, string> {
  return { "Content-Length": String(end - start + 1), "Content-Range": `bytes ${start}-${end}/${bytes}` };
}
