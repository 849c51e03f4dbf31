export { deliverWebhook } from "./deliverWebhook.ts";
export { gpuManager } from "./gpuManager.ts";
export { gpuPool } from "./gpuPool.ts";
export { ensureReconciler, reconcileGpus } from "./reconcileGpus.ts";
export { removeExpired } from "./removeExpired.ts";
export { removeJob } from "./removeJob.ts";
export { renderJob } from "./renderJob.ts";
export { replayWebhooks } from "./replayWebhooks.ts";
export { retireInstance } from "./retireInstance.ts";
