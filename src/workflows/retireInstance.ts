import { proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { Paid } from "../activities/instanceSource.ts";
import type { GpuUsage } from "../gpus/types.ts";
import { taskQueues } from "./names.ts";

export interface Retirement {
  gpuId: string;
  type: string;
  /** Epoch seconds. */
  expires: number;
  instance: Paid;
  /** What is known of its use. */
  usage?: GpuUsage;
}

const { stopGpu } = proxyActivities<Activities>({
  taskQueue: taskQueues.gpu,
  startToCloseTimeout: "2m",
  heartbeatTimeout: "15s",
  retry: { initialInterval: "1s", maximumInterval: "30s" },
  summary: "stop the instance and see that it is gone",
});
const { writeLedger } = proxyActivities<Activities>({
  startToCloseTimeout: "1m",
  scheduleToCloseTimeout: "1 day",
  retry: { initialInterval: "1s", maximumInterval: "1m" },
  summary: "write down what the instance cost",
});

/**
 * Ends an instance that no manager ends: its own was ended before it, or it is the second one of a launch. It may
 * be gone already; what it cost is still to be written down.
 */
export async function retireInstance({ gpuId, type, expires, instance, usage }: Retirement): Promise<void> {
  const { ended } = await stopGpu({ gpuId, type, expires, own: instance, onlyOwn: true });
  await writeLedger({ gpuId, type, ended, ...(usage && { usage }) });
}
