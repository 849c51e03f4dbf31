import { cancellationSignal, log } from "@temporalio/activity";
import type { WebhookAttempt, WebhookRequest } from "../../jobs/webhook.ts";
import { retryAfterMs } from "../../lib/retryAfter.ts";
import { messageOf, oneLine } from "../../lib/text.ts";
import { withinTime } from "../../lib/timeLimit.ts";
import { type PostAnswer, UnsafeUrl } from "../../net/safeFetch.ts";
import { withoutQuery } from "../../process/log.ts";
import { endedDocument, linkOptions } from "../../storage/endedJob.ts";
import { ObjectNotFound } from "../../storage/objectStore.ts";
import { readLedger, writeLedger } from "../../webhooks/deliveryLog.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { createReceivers } from "./circuitBreaker.ts";
import { secretsFor, signatureHeaders } from "./signature.ts";

/** The receiver was not called; it may be in that many milliseconds. */
export interface Postponement {
  postponedMs: number;
}

interface AttemptRequest extends WebhookRequest {
  attempt: number;
  /** Nothing of this webhook is in its ledger yet. */
  isFirst: boolean;
  /** How often this attempt was put off. */
  postponed: number;
}

type Outcome = Omit<WebhookAttempt, "at" | "ms">;

const GONE = 410;
/** Of a redirect, as it is kept. */
const MAX_LOCATION = 2000;
/**
 * Both ask the object store. With the longest WEBHOOK_TIMEOUT that is less than the activity's time limit: an attempt whose
 * time was up would be made again.
 */
const MADE_WITHIN_MS = 5000;
const WRITTEN_WITHIN_MS = 5000;
/** An attempt that was put off that often because nobody is answered counts as a failed one. */
const MAX_POSTPONED = 3;
/** The pauses double that often. */
const MAX_DOUBLINGS = 5;

export function createAttemptWebhook({
  config,
  store,
  safeFetch,
  metrics,
}: Pick<ActivityDeps, "config" | "store" | "safeFetch" | "metrics">) {
  const { webhook } = config;
  const receivers = createReceivers(webhook.receivers);

  return {
    /**
     * Posts a job's ending to its caller, once. What the receiver does is a result, not an error. A receiver
     * that leaves others unanswered, or that is busy with many, is not called.
     */
    async attemptWebhook(request: AttemptRequest): Promise<WebhookAttempt | Postponement> {
      const signal = cancellationSignal();
      const at = new Date();
      const startedAt = performance.now();
      const admission = receivers.admit(new URL(request.url).origin);
      let outcome: Outcome;
      if (admission.admitted) {
        let answered: boolean | undefined;
        try {
          outcome = await call(request, at, signal);
          if (outcome.permanent !== true) answered = outcome.statusCode !== undefined;
        } finally {
          admission.left(answered);
        }
      } else {
        const { reason, retryMs } = admission;
        if (reason === "busy" || request.postponed < MAX_POSTPONED) {
          metrics.webhookPostponed(reason);
          return { postponedMs: spread(retryMs, request.postponed) };
        }
        outcome = { delivered: false, error: "not tried: the receiver has not been answering for a while" };
      }
      const made: WebhookAttempt = { at: at.toISOString(), ms: Math.round(performance.now() - startedAt), ...outcome };
      const { jobId, attempt, url } = request;
      metrics.webhookAttempted(made.delivered);
      log.info("webhook attempt", { jobId, attempt, url: withoutQuery(url), ...made });
      await writeDown(request, made);
      return made;
    },
  };

  async function call(request: WebhookRequest, at: Date, signal: AbortSignal): Promise<Outcome> {
    const content = await withinTime(bodyOf(request), MADE_WITHIN_MS);
    if (content === undefined) return { delivered: false, permanent: true, error: "the result was removed" };
    const body = JSON.stringify(content);
    const headers = {
      "Content-Type": "application/json",
      ...signatureHeaders(secretsFor(config, request.tenant), request.jobId, at, body),
    };
    try {
      return outcomeOf(
        await safeFetch.post(request.url, {
          body,
          headers,
          timeoutMs: webhook.timeoutMs,
          tenant: request.tenant,
          signal,
        }),
      );
    } catch (error) {
      signal.throwIfAborted();
      const sentence = messageOf(error);
      return { delivered: false, error: oneLine(sentence), ...(error instanceof UnsafeUrl && { permanent: true }) };
    }
  }

  /** What `GET /result` answers; undefined when the result is not there any more. */
  async function bodyOf({ jobId: id, ending: { state, error }, result, metadata }: WebhookRequest) {
    const job = { id, state, error, files: result?.files ?? [], outputPath: result?.outputPath, metadata };
    try {
      return await endedDocument(store, job, (file) => store.link(file.key, linkOptions(file)));
    } catch (gone) {
      if (gone instanceof ObjectNotFound) return undefined;
      throw gone;
    }
  }

  function outcomeOf({ status: statusCode, headers, location }: PostAnswer): Outcome {
    if (statusCode >= 200 && statusCode < 300) return { delivered: true, statusCode };
    const retryMs = retryAfterMs(headers.get("retry-after"), Date.now());
    return {
      delivered: false,
      statusCode,
      ...(location !== undefined && {
        location: oneLine(location, MAX_LOCATION),
        error: oneLine(`it redirects to ${location}, which is not followed`),
      }),
      ...(statusCode === GONE && { permanent: true }),
      ...(retryMs !== undefined && { retryAfterMs: Math.min(retryMs, webhook.maxRetryAfterMs) }),
    };
  }

  /** What was sent cannot be taken back: an attempt that cannot be written down must not be made again for that. */
  async function writeDown({ isFirst, attempt, postponed, ...request }: AttemptRequest, made: WebhookAttempt) {
    const write = async () => {
      const before = isFirst ? undefined : await readLedger(store, request.jobId);
      await writeLedger(store, { request, attempts: [...(before?.attempts ?? []), made] });
    };
    try {
      await withinTime(write(), WRITTEN_WITHIN_MS);
    } catch (error) {
      log.error("a webhook's attempt could not be written down", { jobId: request.jobId, error: String(error) });
    }
  }
}

/** Longer with every time that an attempt is put off, and never the same for all who wait. */
function spread(retryMs: number, postponed: number): number {
  return Math.round(retryMs * 2 ** Math.min(postponed, MAX_DOUBLINGS) * (1 + Math.random()));
}
