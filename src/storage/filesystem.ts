import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { link, mkdir, open, opendir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { contentTypeOf } from "./contentTypes.ts";
import { MIN_SECRET_CHARS, signedPath } from "./fileLinks.ts";
import { type ObjectInfo, ObjectNotFound, type ObjectStore } from "./objectStore.ts";
import { probeWriting } from "./writeProbe.ts";

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
/** What people submit and get is nobody else's on this machine. */
const OWNER_ONLY = 0o700;

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
      await mkdir(join(root, PARTIAL), { recursive: true, mode: OWNER_ONLY });
      await store.linkSecret();
      await probeWriting(join(root, PARTIAL));
    },

    async put(key, body, { signal }) {
      const path = pathOf(key);
      const partial = join(root, PARTIAL, randomUUID());
      await mkdir(dirname(partial), { recursive: true, mode: OWNER_ONLY });
      try {
        await pipeline(body, createWriteStream(partial, { flush: true }), ...(signal ? [{ signal }] : []));
        const { size } = await stat(partial);
        await mkdir(dirname(path), { recursive: true, mode: OWNER_ONLY });
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
      secret ??= await keptSecret(root);
      return secret;
    },
  };
  return store;
}

/**
 * Made by whoever comes first; everybody else reads it. It gets its name when it is whole: API and worker may ask for it at
 * once, and a signature by half a secret opens nothing, or, by an empty one, everything.
 */
async function keptSecret(root: string): Promise<string> {
  const path = join(root, SECRET_FILE);
  const kept = await readFile(path, "utf8").catch(unlessMissing);
  if (kept !== undefined) return checkedSecret(kept.trim(), path);
  const partial = join(root, PARTIAL, randomUUID());
  await mkdir(dirname(partial), { recursive: true, mode: OWNER_ONLY });
  try {
    const made = randomBytes(32).toString("base64url");
    await writeFile(partial, made, { mode: 0o600, flush: true });
    await link(partial, path);
    await syncFolder(root);
    return made;
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    return checkedSecret((await readFile(path, "utf8")).trim(), path);
  } finally {
    await rm(partial, { force: true });
  }
}

function checkedSecret(secret: string, path: string): string {
  if (secret.length >= MIN_SECRET_CHARS) return secret;
  const found = secret === "" ? "is empty" : `has fewer than ${MIN_SECRET_CHARS} characters`;
  throw new Error(`${path} ${found}, so links could be forged: remove it, and a new secret is made; older links end`);
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
