import { cancellationSignal, log } from "@temporalio/activity";
import { Webhook } from "standardwebhooks";
import { UnsafeUrl } from "../clients/safeFetch.ts";
import type { JobResult } from "../jobs/job.ts";
import { withoutQuery } from "../log.ts";
import type { ObjectStore } from "../storage/objectStore.ts";
import type { ActivityDeps } from "./deps.ts";
import type { WebhookRequest } from "./signals.ts";

/** One attempt to deliver a webhook, as its ledger keeps it. */
export interface WebhookAttempt {
  /** ISO 8601 */
  at: string;
  delivered: boolean;
  /** The receiver's answer, if there was one. */
  statusCode?: number;
  ms: number;
  error?: string;
  /** No further attempt can help. */
  permanent?: boolean;
}

/** A link in a webhook opens for as long as one from `/result`. */
const LINK_SECONDS = 7 * 24 * 3600;
const GONE = 410;

export function createAttemptWebhook({
  config,
  store,
  safeFetch,
  metrics,
}: Pick<ActivityDeps, "config" | "store" | "safeFetch" | "metrics">) {
  const { secret, timeoutMs } = config.webhook;
  return {
    /** Posts a job's ending to its caller, once. What the receiver does is a result, not an error. */
    async attemptWebhook(request: WebhookRequest & { attempt: number }): Promise<WebhookAttempt> {
      const signal = cancellationSignal();
      const { jobId, url, attempt } = request;
      const body = JSON.stringify(await bodyOf(request, store));
      const at = new Date();
      const headers = {
        "Content-Type": "application/json",
        "User-Agent": "c3-render",
        ...signatureOf(secret, jobId, at, body),
      };
      const outcome = await post();
      const made: WebhookAttempt = { at: at.toISOString(), ms: Date.now() - at.getTime(), ...outcome };
      metrics.webhookAttempted(made.delivered);
      log.info("webhook attempt", { jobId, attempt, url: withoutQuery(url), ...made });
      return made;

      async function post(): Promise<Pick<WebhookAttempt, "delivered" | "statusCode" | "error" | "permanent">> {
        try {
          const { status } = await safeFetch.post(url, { body, headers, timeoutMs, signal });
          const delivered = status >= 200 && status < 300;
          return { delivered, statusCode: status, ...(status === GONE && { permanent: true }) };
        } catch (error) {
          signal.throwIfAborted();
          const sentence = error instanceof Error ? error.message : String(error);
          return { delivered: false, error: sentence, ...(error instanceof UnsafeUrl && { permanent: true }) };
        }
      }
    },
  };
}

/** The body that clients of the original know, with what applies. */
async function bodyOf({ jobId, ending, result, metadata }: WebhookRequest, store: ObjectStore) {
  return {
    id: jobId,
    status: ending.state,
    ...(result === undefined ? { error: ending.error } : await resultOf(result, store)),
    ...(metadata && { metadata }),
  };
}

async function resultOf({ files: [file], outputPath }: JobResult, store: ObjectStore) {
  if (file === undefined) return { output_path: outputPath };
  if (file.mimeType.startsWith("text/plain")) {
    const { body } = await store.get(file.key);
    return { text: Buffer.concat(await body.toArray()).toString() };
  }
  return { result_url: await store.link(file.key, { expiresInSeconds: LINK_SECONDS }) };
}

/** https://www.standardwebhooks.com: the same id on every attempt, so that a receiver can drop repeats. */
function signatureOf(secret: string | undefined, jobId: string, at: Date, body: string): Record<string, string> {
  const id = `msg_${jobId}`;
  const timestamp = { "webhook-id": id, "webhook-timestamp": String(Math.floor(at.getTime() / 1000)) };
  if (secret === undefined) return timestamp;
  const key = secret.startsWith("whsec_") ? secret : Buffer.from(secret).toString("base64");
  return { ...timestamp, "webhook-signature": new Webhook(key).sign(id, at, body) };
}
