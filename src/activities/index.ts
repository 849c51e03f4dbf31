import type { ActivityDeps } from "./deps.ts";
import { createDownloadInputs } from "./downloadInputs.ts";
import { createGpuActivities } from "./gpu.ts";
import { createKeepRecord } from "./keepRecord.ts";
import { createLipsync } from "./lipsync.ts";
import { createReconcile } from "./reconcile.ts";
import { createRemoveData } from "./removeData.ts";
import { createRemoveExpired } from "./removeExpired.ts";
import { createRemoveInputs } from "./removeInputs.ts";
import { createReplays } from "./replays.ts";
import { createRunModel } from "./runModel.ts";
import { createSignals } from "./signals.ts";
import { createUploadResult } from "./uploadResult.ts";
import { createAttemptWebhook } from "./webhook.ts";

export type Activities = ReturnType<typeof createActivities>;

/** Every activity, over what it needs. */
export function createActivities(deps: ActivityDeps) {
  const signals = createSignals(deps);
  const { removeInputs } = createRemoveInputs(deps);
  const keepRecord = createKeepRecord(deps);
  return {
    ...signals,
    ...createGpuActivities(deps),
    ...createReconcile({ ...deps, ...keepRecord, signals, removeInputs }),
    ...createDownloadInputs(deps),
    ...createRunModel(deps),
    ...createUploadResult(deps),
    ...createLipsync(deps),
    ...createAttemptWebhook(deps),
    ...createReplays(deps),
    removeInputs,
    ...createRemoveData(deps),
    ...createRemoveExpired(deps),
    ...keepRecord,
  };
}
