import { Readable } from "node:stream";
import { cancellationSignal } from "@temporalio/activity";
import type { StoredJob } from "../jobs/job.ts";
import { keys } from "../storage/keys.ts";
import type { ActivityDeps } from "./deps.ts";

export function createKeepRecord({ store }: Pick<ActivityDeps, "store">) {
  return {
    /** Writes down how a job ended, for when Temporal has forgotten it. Writing it again replaces it. */
    async keepRecord(record: StoredJob): Promise<void> {
      const body = Readable.from([Buffer.from(JSON.stringify(record))]);
      const signal = cancellationSignal();
      await store.put(keys.record(record.view.id), body, { contentType: "application/json", signal });
    },
  };
}
