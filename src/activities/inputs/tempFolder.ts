import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Config } from "../../config/index.ts";

type TempConfig = Pick<Config, "outputDir" | "keepTempFiles">;

/** No step of a job takes longer. */
const ABANDONED_AFTER_MS = 3 * 3_600_000;
const ownedName = /\.(\d+)@(.+)$/;

/**
 * Runs `work` with a folder of its own for temporary files, `<OUTPUT_DIR>/<job id>-<step>-<attempt>.<process>@<host>`,
 * which is removed afterwards, whatever happened, unless the operator keeps such files.
 */
export async function withTempFolder<T>(
  { outputDir, keepTempFiles }: TempConfig,
  name: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = join(outputDir, `${name}.${process.pid}@${hostname()}`);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    return await work(folder);
  } finally {
    if (!keepTempFiles) await rm(folder, { recursive: true, force: true });
  }
}

/** Removes what processes left behind that were killed. To be called before this one makes any folder. */
export async function sweepTempFolders({ outputDir, keepTempFiles }: TempConfig): Promise<string[]> {
  if (keepTempFiles) return [];
  const swept: string[] = [];
  for (const name of await readdir(outputDir).catch(() => [])) {
    const [, pid, host] = ownedName.exec(name) ?? [];
    if (pid === undefined) continue;
    const folder = join(outputDir, name);
    const left = host === hostname() ? !isOther(Number(pid)) : await isAbandoned(folder);
    if (!left) continue;
    await rm(folder, { recursive: true, force: true });
    swept.push(name);
  }
  return swept;
}

/** Whether a process of that id runs, and is not this one: in containers the next process has the id of the last. */
function isOther(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

async function isAbandoned(folder: string): Promise<boolean> {
  const { mtimeMs } = await stat(folder);
  return Date.now() - mtimeMs > ABANDONED_AFTER_MS;
}
