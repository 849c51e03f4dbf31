import { createWriteStream } from "node:fs";
import { basename, extname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { activityInfo, log } from "@temporalio/activity";
import { reasonOf } from "../../clients/modelCall.ts";
import type { StoredFile } from "../../jobs/job.ts";
import { keys } from "../../storage/keys.ts";
import { withTempFolder } from "../inputs/tempFolder.ts";
import type { ActivityDeps } from "../support/deps.ts";

/**
 * Puts copies of results beside the other temporary files, as `<job id>.mp4` and the like, where the operator keeps such files.
 * Results go from node to store without touching the disk otherwise. The job does not depend on it.
 */
export async function keepResults(
  { config, store }: Pick<ActivityDeps, "config" | "store">,
  jobId: string,
  files: readonly StoredFile[],
  signal: AbortSignal,
): Promise<void> {
  if (!config.keepTempFiles) return;
  try {
    await withTempFolder(config, `${jobId}-results-${activityInfo().attempt}`, async (folder) => {
      for (const { key } of files) {
        const isResult = key === keys.result(jobId, extname(key).slice(1));
        const { body } = await store.get(key, { signal });
        const name = isResult ? basename(key) : `${jobId}_${basename(key)}`;
        await pipeline(body, createWriteStream(join(folder, name)), { signal });
      }
    });
  } catch (error) {
    signal.throwIfAborted();
    log.warn("the results could not be kept among the temporary files", { jobId, error: reasonOf(error) });
  }
}
