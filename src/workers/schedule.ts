import { type Client, ScheduleAlreadyRunning, ScheduleOverlapPolicy } from "@temporalio/client";
import { taskQueues } from "../temporal.ts";
import type { ensureReconciler } from "../workflows/reconcileGpus.ts";

const SCHEDULE_ID = "ensure-reconciler";

/** An hourly Schedule that brings the reconciler back if somebody terminated it. */
export async function ensureReconcilerSchedule(client: Client): Promise<void> {
  try {
    await client.schedule.create<typeof ensureReconciler>({
      scheduleId: SCHEDULE_ID,
      spec: { intervals: [{ every: "1 hour" }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP },
      action: {
        type: "startWorkflow",
        workflowType: "ensureReconciler",
        workflowId: SCHEDULE_ID,
        taskQueue: taskQueues.main,
        args: [],
      },
    });
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
  }
}
