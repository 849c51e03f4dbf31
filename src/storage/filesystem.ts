import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, opendir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { contentTypeOf } from "./contentTypes.ts";
import { signedPath } from "./fileLinks.ts";
import { type ObjectInfo, ObjectNotFound, type ObjectStore } from "./objectStore.ts";

export interface FilesystemOptions {
  dir: string;
  /** Signs the links; made once and kept beside the objects when undefined. */
  linkSecret?: string | undefined;
  /** The base URL of the API that serves `/files`, without a trailing slash; empty for links relative to it. */
  baseUrl: string;
}

export interface FilesystemStore extends ObjectStore {
  /** What the links are signed with. */
  linkSecret(): Promise<string>;
}

/** Unfinished uploads, outside of the keys: a listing never shows half an object. */
const PARTIAL = ".partial";
const SECRET_FILE = ".link-secret";

/** Objects as files below a folder; the content type of each is that of its extension. */
export function createFilesystemStore({ dir, linkSecret, baseUrl }: FilesystemOptions): FilesystemStore {
  const root = resolve(dir);
  let secret = linkSecret;

  /** A key never leads out of the folder, nor to its internal files. */
  function pathOf(key: string): string {
    const path = resolve(root, key);
    const inside = path.startsWith(root + sep) && !key.split("/").some((part) => part.startsWith("."));
    if (!inside || key.includes("\0")) throw new RangeError(`"${key}" is not a key`);
    return path;
  }

  async function head(key: string): Promise<ObjectInfo | undefined> {
    const found = await stat(pathOf(key)).catch(unlessMissing);
    if (!found?.isFile()) return undefined;
    return { key, bytes: found.size, contentType: contentTypeOf(key), lastModified: found.mtime };
  }

  const store: FilesystemStore = {
    async ensureReady() {
      await mkdir(join(root, PARTIAL), { recursive: true });
    },

    async put(key, body, { signal }) {
      const path = pathOf(key);
      const partial = join(root, PARTIAL, randomUUID());
      await mkdir(dirname(partial), { recursive: true });
      try {
        await pipeline(body, createWriteStream(partial, { flush: true }), ...(signal ? [{ signal }] : []));
        const { size } = await stat(partial);
        await mkdir(dirname(path), { recursive: true });
        await rename(partial, path);
        await syncFolder(dirname(path));
        return size;
      } catch (error) {
        await rm(partial, { force: true });
        throw error;
      }
    },

    async get(key, { range, signal } = {}) {
      const info = await head(key);
      if (info === undefined) throw new ObjectNotFound(key);
      return { info, body: createReadStream(pathOf(key), { ...range, ...(signal && { signal }) }) };
    },

    head,

    async *list(prefix) {
      const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
      const entries = await opendir(join(root, folder), { recursive: true }).catch(unlessMissing);
      if (entries === undefined) return;
      for await (const entry of entries) {
        const key = relative(root, join(entry.parentPath, entry.name)).split(sep).join("/");
        if (!entry.isFile() || key.startsWith(".") || !key.startsWith(prefix)) continue;
        const info = await head(key);
        if (info !== undefined) yield info;
      }
    },

    async remove(keys) {
      for (const key of keys) await rm(pathOf(key), { force: true });
    },

    async link(key, options) {
      return `${baseUrl}${signedPath(await store.linkSecret(), key, options)}`;
    },

    async linkSecret() {
      secret ??= await keptSecret(join(root, SECRET_FILE));
      return secret;
    },
  };
  return store;
}

/** Made by whoever comes first; everybody else reads it. */
async function keptSecret(path: string): Promise<string> {
  const made = randomBytes(32).toString("base64url");
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, made, { flag: "wx", mode: 0o600 });
    return made;
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    return (await readFile(path, "utf8")).trim();
  }
}

/** A rename is durable only when the folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function unlessMissing(error: unknown): undefined {
  if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return undefined;
  throw error;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
