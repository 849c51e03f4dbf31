import { proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";

const { removeExpiredObjects } = proxyActivities<Activities>({
  startToCloseTimeout: "6h",
  heartbeatTimeout: "1m",
  retry: { maximumAttempts: 5, initialInterval: "10s" },
  summary: "remove results and records that are too old",
});

/** Started by a daily Schedule: what jobs left in the object store does not stay for ever. */
export async function removeExpired(): Promise<{ removed: number }> {
  return { removed: await removeExpiredObjects() };
}
