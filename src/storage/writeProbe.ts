import { constants, type FileHandle, mkdir, open, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { withinTime } from "../lib/timeLimit.ts";

const PROBE_BYTES = 256 * 1024;
/** Linux's O_TMPFILE, which Node has no name for. */
const TMPFILE = 0o20000000 | constants.O_DIRECTORY;
/** What other systems, and some disks, say to it. */
const NO_NAMELESS = ["EISDIR", "EOPNOTSUPP", "ENOTSUP", "EINVAL"];
const TIME_LIMIT_MS = 5000;

/**
 * Writes something in a folder, and leaves nothing behind.
 * @throws why it could not be written
 */
export async function probeWriting(folder: string): Promise<void> {
  await withinTime(writeAndSync(folder), TIME_LIMIT_MS);
}

async function writeAndSync(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = await openNameless(folder);
  try {
    await file.writeFile(Buffer.alloc(PROBE_BYTES));
    // Some disks only say that they are full when the bytes really go there.
    await file.sync();
  } finally {
    await file.close();
  }
}

/** A file without a name is never left behind. Where there are none, it loses its name at once. */
async function openNameless(folder: string): Promise<FileHandle> {
  try {
    return await open(folder, TMPFILE | constants.O_WRONLY, 0o600);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && NO_NAMELESS.includes(String(error.code)))) throw error;
    const path = join(folder, `.probe.${process.pid}@${hostname()}`);
    const file = await open(path, "w");
    await rm(path, { force: true });
    return file;
  }
}
