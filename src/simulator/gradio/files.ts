import { randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { basename, extname, join, normalize, sep } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { brotliCompress, gzip } from "node:zlib";
import type { Context } from "hono";
import { getMimeType } from "hono/utils/mime";
import type { SimulatorEnv } from "../env.ts";
import { rangeOf } from "../range.ts";
import type { GradioVersion, MadeFile } from "./app.ts";
import { apiPrefix } from "./description.ts";

export interface GradioFilesOptions {
  folder: string;
  /** Where the app is reached. */
  root: string;
  version: () => GradioVersion;
}

export const fileMeta = { _type: "gradio.FileData" };

/** Smaller ones are sent as they are. */
const COMPRESSED_FROM_BYTES = 400;
const COMPRESSED = new Set([".json", ".tsv", ".html", ".txt", ".csv", ".md"]);

/** The files of one Gradio server: what was uploaded to it and what its function made. It serves nothing else. */
export function createGradioFiles({ folder, root, version }: GradioFilesOptions) {
  const served = new Set<string>();

  async function upload(c: Context<SimulatorEnv>): Promise<Response> {
    const form = await c.req.formData();
    const paths: string[] = [];
    for (const file of form.getAll("files")) {
      if (typeof file === "string") continue;
      const place = join(folder, randomBytes(8).toString("hex"));
      await mkdir(place, { recursive: true });
      const path = join(place, basename(file.name));
      await writeFile(path, Buffer.from(await file.arrayBuffer()));
      served.add(path);
      paths.push(path);
    }
    return c.json(paths);
  }

  /** As the component `Audio` describes a file, or `File`; neither tells its type. */
  async function describe({ file }: MadeFile, component: string) {
    served.add(file);
    const size = component === "Audio" ? null : (await stat(file)).size;
    const url = `${root}${apiPrefix(version())}/file=${file}`;
    return { path: file, url, size, orig_name: basename(file), mime_type: null, is_stream: false, meta: fileMeta };
  }

  async function serve(c: Context<SimulatorEnv>): Promise<Response> {
    const path = decodeURIComponent(c.req.path.slice(c.req.path.indexOf("/file=") + "/file=".length));
    // Gradio 4 serves whatever is in its folder.
    const allowed = served.has(path) || (version() === "4.44" && normalize(path).startsWith(join(folder, sep)));
    if (!allowed) return c.json({ detail: `File not allowed: ${path}.` }, 403);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return c.json({ detail: `File not found: ${path}.` }, 404);
    const headers = { "accept-ranges": "bytes", "content-type": getMimeType(path) ?? "application/octet-stream" };
    const asked = c.req.header("range");
    if (asked !== undefined) {
      const range = rangeOf(asked, found.size);
      if (range === undefined) return c.body(null, 416, { "content-range": `bytes */${found.size}` });
      const length = { "content-length": String(range.end - range.start + 1) };
      const place = { "content-range": `bytes ${range.start}-${range.end}/${found.size}` };
      return c.body(Readable.toWeb(createReadStream(path, range)), 206, { ...headers, ...length, ...place });
    }
    const encoding = encodingFor(path, found.size, c.req.header("accept-encoding") ?? "");
    if (encoding !== undefined) {
      const body = await encoders[encoding](await readFile(path));
      const encoded = { "content-encoding": encoding, vary: "Accept-Encoding", "content-length": String(body.length) };
      return c.body(new Uint8Array(body), 200, { ...headers, ...encoded });
    }
    const plain = { ...headers, "content-length": String(found.size) };
    return c.body(Readable.toWeb(createReadStream(path)), 200, plain);
  }

  function encodingFor(path: string, size: number, accepted: string): "br" | "gzip" | undefined {
    if (version() === "4.44" || size < COMPRESSED_FROM_BYTES || !COMPRESSED.has(extname(path))) return undefined;
    return (["br", "gzip"] as const).find((encoding) => accepted.includes(encoding));
  }

  return { upload, describe, serve };
}

const encoders = { br: promisify(brotliCompress), gzip: promisify(gzip) };
