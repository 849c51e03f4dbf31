import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.ts";

/**
 * Runs `work` with a folder of its own for temporary files, `<OUTPUT_DIR>/<job id>-<attempt>`, which is removed
 * afterwards, whatever happened, unless the operator keeps such files.
 */
export async function withTempFolder<T>(
  { outputDir, keepTempFiles }: Pick<Config, "outputDir" | "keepTempFiles">,
  name: string,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = join(outputDir, name);
  await mkdir(folder, { recursive: true });
  try {
    return await work(folder);
  } finally {
    if (!keepTempFiles) await rm(folder, { recursive: true, force: true });
  }
}
