import type { Paid } from "../activities/gpus/instanceProvider.ts";
import type { GpuUsage } from "../gpus/types.ts";
import { stopGpu, writeLedger } from "./endInstance.ts";

export interface Retirement {
  gpuId: string;
  type: string;
  /** Epoch seconds. */
  expires: number;
  instance: Paid;
  /** What is known of its use. */
  usage?: GpuUsage;
}

/**
 * Ends an instance that no manager ends: its own was ended before it, or it is the second one of a launch. It may
 * be gone already; what it cost is still to be written down.
 */
export async function retireInstance({ gpuId, type, expires, instance, usage }: Retirement): Promise<void> {
  const { ended } = await stopGpu({ gpuId, type, expires, own: instance, onlyOwn: true });
  await writeLedger({ gpuId, type, ended, ...(usage && { usage }) });
}
