import { mkdir, open, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { withinTime } from "../timeLimit.ts";

const PROBE_BYTES = 256 * 1024;
const TIME_LIMIT_MS = 5000;

/** Why nothing can be written in a folder; undefined: something can. */
export async function troubleWriting(folder: string): Promise<string | undefined> {
  try {
    await withinTime(writeProbe(folder), TIME_LIMIT_MS);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function writeProbe(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `.probe.${process.pid}@${hostname()}`);
  const file = await open(path, "w");
  try {
    await file.writeFile(Buffer.alloc(PROBE_BYTES));
    // Some disks only say that they are full when the bytes really go there.
    await file.sync();
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
}
