import { createHash, randomUUID } from "node:crypto";
import { createReadStream, mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve, sep } from "node:path";
import { Readable } from "node:stream";
import type { Context } from "hono";
import type { SimulatorEnv } from "../env.ts";
import { rangeOf } from "../range.ts";

export type ComfyFiles = ReturnType<typeof createComfyFiles>;

/** What one ComfyUI server keeps in `input/`, `output/` and `temp/`, and its routes to them. */
export function createComfyFiles(folder: string) {
  const root = resolve(folder);
  const folders = { input: join(root, "input"), output: join(root, "output"), temp: join(root, "temp") };
  for (const path of Object.values(folders)) mkdirSync(path, { recursive: true });
  /** The hash of every uploaded file, by its path. */
  const uploads = new Map<string, string>();

  function isUploaded(name: string): boolean {
    const path = within(folders.input, name);
    return path !== undefined && statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  }

  async function upload(c: Context<SimulatorEnv>): Promise<Response> {
    const form = await c.req.formData();
    const file = form.get("image");
    if (file === null || typeof file === "string" || file.name === "") return c.body(null, 400);
    const place = within(folders.input, String(form.get("subfolder") ?? ""));
    if (place === undefined || within(place, file.name) === undefined) return c.body(null, 400);
    const bytes = new Uint8Array(await file.arrayBuffer());
    const draft = join(folders.temp, randomUUID());
    await writeFile(draft, bytes);
    const path = freeName(join(place, file.name), createHash("sha256").update(bytes).digest("hex"));
    mkdirSync(dirname(path), { recursive: true });
    renameSync(draft, path);
    return c.json({ name: relative(place, path), subfolder: relative(folders.input, place), type: "input" });
  }

  /** The same bytes keep their name; others of that name get ` (1)`. */
  function freeName(path: string, hash: string): string {
    const { length } = extname(path);
    const stem = path.slice(0, path.length - length);
    let name = path;
    for (let number = 1; (uploads.get(name) ?? hash) !== hash; number += 1) {
      name = `${stem} (${number})${extname(path)}`;
    }
    uploads.set(name, hash);
    return name;
  }

  async function view(c: Context<SimulatorEnv>): Promise<Response> {
    const { filename, subfolder = "", type = "output" } = c.req.query();
    if (!filename || filename.startsWith("/") || filename.includes("..")) return c.body(null, 400);
    const root = Object.entries(folders).find(([name]) => name === type)?.[1];
    if (root === undefined) return c.body(null, 400);
    const place = within(root, subfolder);
    if (place === undefined) return c.body(null, 403);
    const path = join(place, basename(filename));
    const found = await stat(path).catch(() => undefined);
    return found?.isFile() ? sendFile(c, path, found.size) : c.body(null, 404);
  }

  /** `output/<prefix>_00001`, with a number that no file of that prefix has yet. */
  function freeStem(prefix: string): string {
    const path = within(folders.output, prefix);
    if (path === undefined) throw new Error("Saving image outside the output folder is not allowed.");
    mkdirSync(dirname(path), { recursive: true });
    const start = `${basename(path)}_`;
    const others = readdirSync(dirname(path)).filter((name) => name.startsWith(start));
    const numbers = others.map((name) => Number(/^\d+/.exec(name.slice(start.length))?.[0] ?? 0));
    return `${path}_${String(Math.max(0, ...numbers) + 1).padStart(5, "0")}`;
  }

  return { folders, isUploaded, upload, view, freeStem };
}

/** The path of `name` in `root`; undefined when it leads out of it. */
function within(root: string, name: string): string | undefined {
  const path = resolve(root, name);
  return path === root || path.startsWith(root + sep) ? path : undefined;
}

const mimeTypes: Record<string, string> = { ".mp4": "video/mp4", ".png": "image/png" };

function sendFile(c: Context, path: string, size: number): Response {
  const header = c.req.header("range");
  const range = header === undefined ? { start: 0, end: size - 1 } : rangeOf(header, size);
  if (range === undefined) return c.body(null, 416, { "content-range": `bytes */${size}` });
  const headers: Record<string, string> = {
    "accept-ranges": "bytes",
    "content-disposition": `filename="${basename(path)}"`,
    "content-length": String(range.end - range.start + 1),
    "content-type": mimeTypes[extname(path)] ?? "application/octet-stream",
  };
  if (header !== undefined) headers["content-range"] = `bytes ${range.start}-${range.end}/${size}`;
  const status = header === undefined ? 200 : 206;
  if (c.req.method === "HEAD") return c.body(null, status, headers);
  return c.body(Readable.toWeb(createReadStream(path, range)), status, headers);
}
