import { Readable } from "node:stream";
import { Hono } from "hono";
import { opensFile } from "../../storage/fileLinks.ts";
import type { FilesystemStore } from "../../storage/filesystem.ts";
import { type ObjectInfo, ObjectNotFound, type ObjectStore } from "../../storage/objectStore.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";
import { type ByteRange, rangeOf } from "../range.ts";

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
    const range = rangeOf(c.req.raw.headers, info);
    const headers = headersOf(info, range, query.get("download"));
    const status = range === undefined ? 200 : 206;
    // Nobody would read, and so close, the body of an answer to HEAD.
    if (c.req.method === "HEAD") return c.body(null, status, headers);
    const { body } = await store.get(key, range && { range });
    return c.body(Readable.toWeb(body), status, headers);
  });
}

/** Whether the links to stored files lead here. */
export function servesLinks(store: ObjectStore): store is FilesystemStore {
  return "linkSecret" in store;
}

function headersOf(info: ObjectInfo, range: ByteRange | undefined, name: string | null): Record<string, string> {
  const { bytes, contentType, lastModified } = info;
  return {
    "Content-Type": contentType,
    "Content-Length": String(range === undefined ? bytes : range.end - range.start + 1),
    ...(range && { "Content-Range": `bytes ${range.start}-${range.end}/${bytes}` }),
    "Accept-Ranges": "bytes",
    "Last-Modified": lastModified.toUTCString(),
    "Content-Disposition": name === null ? "inline" : `attachment; filename="${name}"`,
    "Cache-Control": "private",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "cross-origin",
  };
}
