import { z } from "zod";

/** An instance as `/workloads` lists it; times are Unix seconds. */
const workloadSchema = z.object({
  workload: z.string(),
  node: z.string(),
  type: z.string(),
  created: z.number(),
  expires: z.number(),
});
export type Workload = z.infer<typeof workloadSchema>;
export interface Comput3 {
  launch(request: { type: string; expires: number }, signal?: AbortSignal): Promise<{ workload: string; node: string }>;
  runningWorkloads(signal?: AbortSignal): Promise<Workload[]>;
  stop(workload: string, signal?: AbortSignal): Promise<{ refundAmount?: number }>;
}
export async function nodeIsUp(nodeUrl: string, apiKey: string | undefined, signal?: AbortSignal): Promise<boolean> {
  try { const r = await fetch(nodeUrl + "/", { headers: { "X-C3-API-KEY": apiKey ?? "" }, signal: AbortSignal.any([AbortSignal.timeout(5000), ...(signal ? [signal] : [])]) }); return r.status === 200; } catch { return false; }
}
