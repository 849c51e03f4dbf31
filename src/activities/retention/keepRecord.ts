import { cancellationSignal } from "@temporalio/activity";
import type { StoredJob } from "../../jobs/job.ts";
import { writeJson } from "../../storage/jsonDocuments.ts";
import { keys } from "../../storage/keys.ts";
import type { ActivityDeps } from "../support/deps.ts";

export function createKeepRecord({ store }: Pick<ActivityDeps, "store">) {
  return {
    /** Writes down how a job ended, for when Temporal has forgotten it. Writing it again replaces it. */
    async keepRecord(record: StoredJob): Promise<void> {
      await writeJson(store, keys.record(record.view.id), record, { signal: cancellationSignal() });
    },
  };
}
