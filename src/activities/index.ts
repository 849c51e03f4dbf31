import { createGpuActivities } from "./gpus/gpu.ts";
import { createReconcile } from "./gpus/reconcile.ts";
import { createDownloadInputs } from "./inputs/downloadInputs.ts";
import { createRemoveInputs } from "./inputs/removeInputs.ts";
import { createSignals } from "./messaging/signals.ts";
import { createLipsync } from "./models/lipsync.ts";
import { createRunModel } from "./models/runModel.ts";
import { createUploadResult } from "./models/uploadResult.ts";
import { createKeepRecord } from "./retention/keepRecord.ts";
import { createRemoveData } from "./retention/removeData.ts";
import { createRemoveExpired } from "./retention/removeExpired.ts";
import type { ActivityDeps } from "./support/deps.ts";
import { createAttemptWebhook } from "./webhooks/attemptWebhook.ts";
import { createReplays } from "./webhooks/replays.ts";

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
