import { ActivityCancellationType, proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import { taskQueues } from "../contracts/names.ts";

/** A stop must be seen to have happened: it is never given up while it runs. */
export const { stopGpu } = proxyActivities<Activities>({
  taskQueue: taskQueues.gpu,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  startToCloseTimeout: "2m",
  heartbeatTimeout: "15s",
  retry: { initialInterval: "1s", maximumInterval: "30s" },
  summary: "stop the instance and see that it is gone",
});

export const { writeLedger } = proxyActivities<Activities>({
  startToCloseTimeout: "1m",
  scheduleToCloseTimeout: "1 day",
  retry: { initialInterval: "1s", maximumInterval: "1m" },
  summary: "write down what the instance cost",
});
