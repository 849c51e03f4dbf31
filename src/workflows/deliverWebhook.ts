import { ApplicationFailure, proxyActivities, setCurrentDetails, sleep, upsertMemo } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { WebhookRequest } from "../activities/signals.ts";
import type { WebhookAttempt } from "../activities/webhook.ts";

export interface WebhookInput extends WebhookRequest {
  /** The delays between attempts; one more attempt than delays. */
  retryDelaysMs: number[];
}

// What the receiver does is a result; an error is our own trouble (a worker died, no link could be made), and
// is tried again without using up an attempt.
const { attemptWebhook } = proxyActivities<Activities>({
  startToCloseTimeout: "30s",
  retry: { initialInterval: "1s", maximumInterval: "1m" },
  summary: "post the result to the caller",
});

/** Tells the caller how a job ended, until a receiver takes it or the attempts are used up. */
export async function deliverWebhook({ retryDelaysMs, ...request }: WebhookInput): Promise<WebhookAttempt[]> {
  const attempts: WebhookAttempt[] = [];
  for (const delayMs of [0, ...retryDelaysMs]) {
    if (delayMs > 0) await sleep(delayMs, { summary: "before the next attempt" });
    const attempt = await attemptWebhook({ ...request, attempt: attempts.length + 1 });
    attempts.push(attempt);
    upsertMemo({ deliveries: attempts });
    setCurrentDetails(attempts.map((made) => `- ${made.at}: ${outcomeOf(made)}`).join("\n"));
    if (attempt.delivered) return attempts;
    if (attempt.permanent) break;
  }
  const last = attempts.at(-1);
  throw ApplicationFailure.nonRetryable(
    `not delivered after ${attempts.length} attempts, the last one: ${last && outcomeOf(last)}`,
    "WebhookNotDelivered",
  );
}

function outcomeOf(attempt: WebhookAttempt): string {
  return attempt.error ?? `answered ${attempt.statusCode}`;
}
