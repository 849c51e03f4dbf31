import { createWriteStream, type Stats } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Job } from "../sdk/index.ts";
import { NotSavedError } from "./exitCodes.ts";
import { reasonOf } from "./reason.ts";

type File = Job["files"][number];

/**
 * Saves what came of a job.
 * @param out a folder, which is there or ends with a slash: all files, by their names; or a file: the result, or what else
 *   came of the job and has that extension
 * @returns the paths of the files
 * @throws NotSavedError
 */
export async function saveResults({ id, files, result }: Job, out: string, signal: AbortSignal): Promise<string[]> {
  const [first] = files;
  if (first === undefined) {
    const path = result?.output_path;
    throw new NotSavedError(`job ${id} has no file${path === undefined ? "" : ` here: it is at ${path}, says Modal`}`);
  }
  try {
    if (!(await isFolder(out))) {
      await mkdir(dirname(out), { recursive: true });
      await save(files.find(({ name }) => extname(name) === extname(out)) ?? first, out, signal);
      return [out];
    }
    await mkdir(out, { recursive: true });
    const paths: string[] = [];
    for (const file of files) {
      const path = join(out, basename(file.name));
      await save(file, path, signal);
      paths.push(path);
    }
    return paths;
  } catch (error) {
    if (signal.aborted) throw error;
    throw new NotSavedError(`the result of job ${id} could not be saved: ${reasonOf(error)}`, { cause: error });
  }
}

async function isFolder(path: string): Promise<boolean> {
  return /[\\/]$/.test(path) || ((await statOf(path))?.isDirectory() ?? false);
}

async function statOf(path: string): Promise<Stats | undefined> {
  return await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

async function save(file: File, path: string, signal: AbortSignal): Promise<void> {
  const found = await statOf(path);
  // A pipe or a device is written to as it is.
  if (found !== undefined && !found.isFile()) return await download(file, path, signal);
  // Nobody finds half a file by its name.
  const part = `${path}.part`;
  try {
    await download(file, part, signal);
    await rename(part, path);
  } finally {
    await rm(part, { force: true });
  }
}

async function download({ name, url, bytes }: File, path: string, signal: AbortSignal): Promise<void> {
  const response = await fetch(url, { signal });
  if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status} for ${name}`);
  const file = createWriteStream(path);
  await pipeline(Readable.fromWeb(response.body), file, { signal });
  if (file.bytesWritten !== bytes) throw new Error(`${name} has ${bytes} bytes, and ${file.bytesWritten} came`);
}
