import { keys } from "../../storage/keys.ts";
import { removeAll } from "../retention/removeData.ts";
import type { ActivityDeps } from "../support/deps.ts";

export function createRemoveInputs({ store }: Pick<ActivityDeps, "store">) {
  return {
    /** Removes what was downloaded for a job. */
    async removeInputs({ jobId }: { jobId: string }): Promise<void> {
      await removeAll(store, keys.inputsOf(jobId));
    },
  };
}
