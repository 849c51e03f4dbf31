import { randomUUID } from "node:crypto";
import { type Client, WorkflowExecutionAlreadyStartedError } from "@temporalio/client";
import { Hono } from "hono";
import { z } from "zod";
import { ids } from "../../contracts/names.ts";
import { timeField } from "../../jobs/fields.ts";
import { isFinal } from "../../jobs/states.ts";
import type { WebhookAttempt } from "../../jobs/webhook.ts";
import { withoutQuery } from "../../process/log.ts";
import { taskQueues } from "../../temporal/connection.ts";
import { failedDeliveries, hurryDelivery, readLedger, redeliver } from "../../webhooks/deliveryLog.ts";
import type { replayWebhooks } from "../../workflows/replayWebhooks.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { readBody } from "../http/body.ts";
import { HttpError } from "../http/errors.ts";
import { outcomeUnknown, settled } from "../http/settled.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { jobIdOf } from "../jobs/jobId.ts";
import type { JobReader } from "../jobs/jobReader.ts";
import { adminOnly } from "../middleware/adminOnly.ts";

/** The body of `POST /deliveries`. */
export const replaySchema = z.object({ since: timeField, status: z.literal("failed").default("failed") });

/** What became of webhooks, and sending them again. */
export function deliveryRoutes({ client, store, config }: ApiDeps, jobs: JobReader) {
  return new Hono<ApiEnv>()
    .get("/jobs/:id/deliveries", async (c) => {
      const id = jobIdOf(c);
      await jobs.read(id, c.var.caller);
      const ledger = await readLedger(store, id);
      return c.json({
        id,
        url: ledger && withoutQuery(ledger.request.url),
        deliveries: (ledger?.attempts ?? []).map(document),
      });
    })
    .post("/jobs/:id/deliveries", async (c) => {
      const id = jobIdOf(c);
      const { view } = await jobs.readEnd(id, c.var.caller);
      if (!isFinal(view.state))
        throw new HttpError(409, "job_running", "Job has not ended, there is nothing to tell yet");
      const ledger = await readLedger(store, id);
      const replayId = randomUUID();
      const sendAgain = async () => {
        if (ledger === undefined) return await hurryDelivery(client, id, replayId);
        await redeliver({ client, config }, ledger, replayId);
        return true;
      };
      const unknown = outcomeUnknown(`the webhook of job ${id} is sent again`, { job_id: id });
      const found = await settled(client, sendAgain, unknown);
      if (!found) throw new HttpError(404, "no_webhook", "Job has no webhook");
      return c.json({ message: `The webhook of job ${id} is sent again` }, 202);
    })
    .post("/deliveries", adminOnly, async (c) => {
      const { since } = await readBody(c, replaySchema, config.api);
      const now = Date.now();
      // Not every store of Temporal's takes times that it cannot have seen yet.
      const span = {
        since: new Date(Math.min(Date.parse(since), now)).toISOString(),
        until: new Date(now).toISOString(),
      };
      const { count } = await temporalCall(client, () => client.workflow.count(failedDeliveries(span)));
      await startReplay(client, span);
      return c.json({ count }, 202);
    });
}

/** @throws HttpError 409 when the last request is still being worked on */
async function startReplay(client: Client, span: { since: string; until: string }): Promise<void> {
  const requestId = randomUUID();
  const unknown = outcomeUnknown("the failed webhooks are sent again");
  const start = () =>
    client.workflow.start<typeof replayWebhooks>("replayWebhooks", {
      workflowId: ids.replay,
      taskQueue: taskQueues.webhooks,
      args: [span],
      memo: { requestId },
      staticSummary: `sends the webhooks again that failed since ${span.since}`,
    });
  try {
    await settled(client, start, unknown);
  } catch (error) {
    if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
    if (await isOurs()) return;
    throw new HttpError(409, "replay_running", "Failed webhooks are being sent again already");
  }

  /** A first try that was not answered may have started it. */
  async function isOurs(): Promise<boolean> {
    const handle = client.workflow.getHandle(ids.replay);
    const { memo } = await settled(client, () => handle.describe(), unknown);
    return memo?.requestId === requestId;
  }
}

function document({ at, delivered, statusCode, ms, location, error }: WebhookAttempt) {
  return { time: at, delivered, code: statusCode, ms, location, error };
}
