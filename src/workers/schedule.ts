import { type Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from "@temporalio/client";
import { taskQueues } from "../temporal/connection.ts";
import type * as workflows from "../workflows/index.ts";

/** The Schedules, made once; one that is there keeps what an operator has changed. */
export async function ensureSchedules(client: Client): Promise<void> {
  // Brings the reconciler back if somebody terminated it.
  await ensureSchedule(client, "ensure-reconciler", "ensureReconciler", "1 hour");
  await ensureSchedule(client, "remove-expired", "removeExpired", "1 day");
}

async function ensureSchedule(
  client: Client,
  scheduleId: string,
  workflowType: keyof typeof workflows,
  every: "1 hour" | "1 day",
): Promise<void> {
  try {
    await client.schedule.create<() => Promise<unknown>>({
      scheduleId,
      spec: { intervals: [{ every }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP },
      action: { type: "startWorkflow", workflowType, workflowId: scheduleId, taskQueue: taskQueues.main, args: [] },
    });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
}
