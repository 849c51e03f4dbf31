import { keys } from "../storage/keys.ts";
import type { ActivityDeps } from "./deps.ts";

export function createRemoveInputs({ store }: Pick<ActivityDeps, "store">) {
  return {
    /** Removes what was downloaded for a job. */
    async removeInputs({ jobId }: { jobId: string }): Promise<void> {
      const found: string[] = [];
      for await (const { key } of store.list(keys.inputsOf(jobId))) found.push(key);
      if (found.length > 0) await store.remove(found);
    },
  };
}
