import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import type { WebhookConfig } from "../config/index.ts";
import { ids } from "../contracts/names.ts";
import { deliverAgain } from "../contracts/signals.ts";
import { ledgerSchema, type WebhookLedger, type WebhookRequest } from "../jobs/webhook.ts";
import { keys } from "../storage/keys.ts";
import { ObjectNotFound, type ObjectStore } from "../storage/objectStore.ts";
import { taskQueues } from "../temporal/connection.ts";
import type { deliverWebhook } from "../workflows/deliverWebhook.ts";

/** What API and activities both do with webhooks: their ledgers, and starting deliveries. */

export async function readLedger(store: ObjectStore, jobId: string): Promise<WebhookLedger | undefined> {
  try {
    const { body } = await store.get(keys.webhook(jobId));
    return ledgerSchema.parse(JSON.parse(Buffer.concat(await body.toArray()).toString()));
  } catch (error) {
    if (error instanceof ObjectNotFound) return undefined;
    throw error;
  }
}

export async function writeLedger(store: ObjectStore, ledger: WebhookLedger): Promise<void> {
  const body = Readable.from([Buffer.from(JSON.stringify(ledger))]);
  await store.put(keys.webhook(ledger.request.jobId), body, { contentType: "application/json" });
}

/** How the workflow of a webhook is started. */
export function deliveryOptions({ jobId, ending }: WebhookRequest) {
  return {
    workflowId: ids.webhook(jobId),
    taskQueue: taskQueues.webhooks,
    staticSummary: `tell the caller that the job is ${ending.state}`,
  };
}

/**
 * Sends a webhook once more; one that is still on its way is tried at once, and a delivery that succeeds in
 * this very moment is made again.
 * @param replayId the same for a call that is repeated because it was not answered
 */
export async function redeliver(
  { client, config }: { client: Client; config: { webhook: WebhookConfig } },
  { request }: WebhookLedger,
  replayId: string = randomUUID(),
): Promise<void> {
  await client.workflow.signalWithStart<typeof deliverWebhook, [{ replayId: string }]>("deliverWebhook", {
    ...deliveryOptions(request),
    workflowIdReusePolicy: "ALLOW_DUPLICATE",
    args: [{ ...request, retryDelaysMs: config.webhook.retryDelaysMs, replayId }],
    signal: deliverAgain,
    signalArgs: [{ replayId }],
  });
}

/** Tries a delivery at once that is on its way and has no ledger yet. @returns false when there is none */
export async function hurryDelivery(client: Client, jobId: string, replayId: string): Promise<boolean> {
  try {
    await client.workflow.getHandle(ids.webhook(jobId)).signal(deliverAgain, { replayId });
    return true;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

/** The deliveries that were given up between two times (ISO 8601), as a query of Temporal's list. */
export function failedDeliveries({ since, until }: { since: string; until: string }): string {
  return `WorkflowType = 'deliverWebhook' AND ExecutionStatus = 'Failed' AND CloseTime BETWEEN '${since}' AND '${until}'`;
}
