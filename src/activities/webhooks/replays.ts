import { activityInfo, cancellationSignal, heartbeat, log } from "@temporalio/activity";
import type { Client } from "@temporalio/client";
import { z } from "zod";
import type { Config } from "../../config/index.ts";
import type { ReplayReport, ReplayRequest } from "../../contracts/activityTypes.ts";
import { jobIdOfWebhook } from "../../contracts/names.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";
import { failedDeliveries, readLedger, redeliver } from "../../webhooks/deliveryLog.ts";

/** What more than that failed is left for another request. */
const MAX_REPLAYED = 10_000;
const reportSchema = z.object({ seen: z.number(), replayed: z.number() });

export function createReplays({ client, config, store }: { client: Client; config: Config; store: ObjectStore }) {
  return {
    /** Starts every delivery again that failed in that time, unless it was delivered since. Goes on where it was. */
    async replayFailed(request: ReplayRequest): Promise<ReplayReport> {
      const signal = cancellationSignal();
      const before = reportSchema.safeParse(activityInfo().heartbeatDetails).data ?? { seen: 0, replayed: 0 };
      const report = { ...before, seen: 0 };
      const done = new Set<string>();
      for await (const { workflowId } of client.workflow.list({ query: failedDeliveries(request) })) {
        signal.throwIfAborted();
        if (report.replayed >= MAX_REPLAYED) break;
        report.seen += 1;
        if (report.seen <= before.seen || done.has(workflowId)) continue;
        done.add(workflowId);
        if (await replay(jobIdOfWebhook(workflowId))) report.replayed += 1;
        heartbeat(report);
      }
      log.info("failed webhooks are sent again", { ...request, ...report });
      return report;
    },
  };

  async function replay(jobId: string): Promise<boolean> {
    const ledger = await readLedger(store, jobId);
    if (ledger === undefined || ledger.attempts.at(-1)?.delivered === true) return false;
    await redeliver({ client, config }, ledger);
    return true;
  }
}
