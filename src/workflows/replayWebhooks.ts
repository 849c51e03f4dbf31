import { proxyActivities } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { ReplayReport, ReplayRequest } from "../contracts/activityTypes.ts";

const { replayFailed } = proxyActivities<Activities>({
  startToCloseTimeout: "1h",
  heartbeatTimeout: "1m",
  cancellationType: "WAIT_CANCELLATION_COMPLETED",
  summary: "start the failed deliveries again",
});

/** Sends all webhooks again that were given up in a span of time. */
export async function replayWebhooks(request: ReplayRequest): Promise<ReplayReport> {
  return await replayFailed(request);
}
