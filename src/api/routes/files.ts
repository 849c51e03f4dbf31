import { Readable } from "node:stream";
import { type Context, Hono } from "hono";
import parseRange from "range-parser";
import { opensFile } from "../../storage/fileLinks.ts";
import { isFilesystemStore } from "../../storage/filesystem.ts";
import { ObjectNotFound } from "../../storage/objectStore.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";

/** Files of the filesystem store, behind signed links; a store with links of its own has none here. */
export function fileRoutes({ store }: ApiDeps) {
  const routes = new Hono<ApiEnv>();
  if (!isFilesystemStore(store)) return routes;

  return routes.get("/files/:key{.+}", async (c) => {
    const key = c.req.param("key");
    const query = new URL(c.req.url).searchParams;
    const opened = opensFile(await store.linkSecret(), key, query);
    if (opened === "expired") throw new HttpError(403, "link_expired", "This link has expired");
    if (opened === "no") throw new HttpError(403, "link_not_valid", "This link is not valid");
    const info = await store.head(key);
    if (info === undefined) throw new ObjectNotFound(key);
    const range = rangeOf(c, info.bytes);
    const { body } = await store.get(key, range && { range });
    const download = query.get("download");
    const length = range === undefined ? info.bytes : range.end - range.start + 1;
    return c.body(Readable.toWeb(body), range === undefined ? 200 : 206, {
      "Content-Type": info.contentType,
      "Content-Length": String(length),
      "Accept-Ranges": "bytes",
      "Cache-Control": "private, max-age=3600",
      "Cross-Origin-Resource-Policy": "cross-origin",
      "Last-Modified": info.lastModified.toUTCString(),
      ...(download !== null && { "Content-Disposition": `inline; filename="${download.replaceAll(/["\\]/g, "_")}"` }),
      ...(range && { "Content-Range": `bytes ${range.start}-${range.end}/${info.bytes}` }),
    });
  });
}

/** One range is served; several, or something else than bytes, get the whole file, as the RFC allows. */
function rangeOf(c: Context, bytes: number): { start: number; end: number } | undefined {
  const header = c.req.header("Range");
  if (header === undefined) return undefined;
  const ranges = parseRange(bytes, header);
  if (ranges === -1) {
    const headers = { "Content-Range": `bytes */${bytes}` };
    throw new HttpError(416, "range_not_satisfiable", "There are no such bytes in this file", { headers });
  }
  const [range] = ranges === -2 || ranges.type !== "bytes" || ranges.length > 1 ? [] : ranges;
  return range;
}
