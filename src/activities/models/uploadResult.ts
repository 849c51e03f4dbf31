import { cancellationSignal, log } from "@temporalio/activity";
import type { RemoteFile } from "../../contracts/activityTypes.ts";
import type { Lease } from "../../gpus/types.ts";
import type { JobSpec, StoredFile } from "../../jobs/job.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { withHeartbeats } from "../support/heartbeats.ts";
import { copyFromNode } from "./copyFromNode.ts";
import { keepResults } from "./keepResults.ts";

export interface UploadInput {
  job: JobSpec;
  lease: Lease;
  files: RemoteFile[];
}

/** Copies results from the node into the object store; a copy that fails is made again, not the render. */
export function createUploadResult(deps: Pick<ActivityDeps, "config" | "store">) {
  return {
    /** @throws see `copyFromNode` */
    async uploadResult({ job, lease, files }: UploadInput): Promise<{ files: StoredFile[] }> {
      const signal = cancellationSignal();
      return await withHeartbeats(async () => {
        const stored: StoredFile[] = [];
        for (const file of files) {
          stored.push(await copyFromNode(deps, lease, file, signal));
          log.info("result stored", { jobId: job.id, key: file.key, bytes: stored.at(-1)?.bytes });
        }
        await keepResults(deps, job.id, stored, signal);
        return { files: stored };
      });
    },
  };
}
