import { keys } from "../storage/keys.ts";
import type { ActivityDeps } from "./deps.ts";
import { removeAll } from "./removeData.ts";

export function createRemoveInputs({ store }: Pick<ActivityDeps, "store">) {
  return {
    /** Removes what was downloaded for a job. */
    async removeInputs({ jobId }: { jobId: string }): Promise<void> {
      await removeAll(store, keys.inputsOf(jobId));
    },
  };
}
