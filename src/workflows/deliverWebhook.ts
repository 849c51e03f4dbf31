import { ApplicationFailure, condition, proxyActivities, setCurrentDetails, setHandler } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import { deliverAgain } from "../contracts/signals.ts";
import type { WebhookAttempt, WebhookRequest } from "../jobs/webhook.ts";

export interface WebhookInput extends WebhookRequest {
  /** The delays between attempts; one more attempt than delays. */
  retryDelaysMs: number[];
  /** The signal that started this run; undefined for the first run of a job. */
  replayId?: string;
}

// What the receiver does is a result; an error is our own trouble (a worker died, no link could be made), and
// is tried again without using up an attempt.
const { attemptWebhook } = proxyActivities<Activities>({
  startToCloseTimeout: "30s",
  retry: { initialInterval: "1s", maximumInterval: "1m" },
  summary: "post the result to the caller",
});

/**
 * Tells the caller how a job ended, until a receiver takes it or the attempts are used up. There is one such
 * workflow per job at a time, so that what a job's receiver gets has an order: a replay that is asked for in
 * the meantime comes after the attempt that runs.
 */
export async function deliverWebhook({ retryDelaysMs, replayId, ...request }: WebhookInput): Promise<WebhookAttempt[]> {
  const attempts: WebhookAttempt[] = [];
  let wanted = false;
  setHandler(deliverAgain, (replay) => {
    wanted ||= replay.replayId !== replayId;
  });

  let last = await round();
  while (wanted) {
    wanted = false;
    last = await round();
  }
  if (last.delivered) return attempts;
  throw ApplicationFailure.nonRetryable(
    `not delivered after ${attempts.length} attempts, the last one: ${outcomeOf(last)}`,
    "WebhookNotDelivered",
  );

  async function round(): Promise<WebhookAttempt> {
    let attempt = await attemptOnce();
    for (const delayMs of retryDelaysMs) {
      if (attempt.delivered || attempt.permanent) return attempt;
      await pause(Math.max(delayMs, attempt.retryAfterMs ?? 0), "before the next attempt");
      attempt = await attemptOnce();
    }
    return attempt;
  }

  /** Being put off by a receiver that does not answer anybody uses up no attempt, for a while. */
  async function attemptOnce(): Promise<WebhookAttempt> {
    for (let postponed = 0; ; postponed += 1) {
      const isFirst = attempts.length === 0 && replayId === undefined;
      const answer = await attemptWebhook({ ...request, attempt: attempts.length + 1, isFirst, postponed });
      if (!("postponedMs" in answer)) {
        attempts.push(answer);
        setCurrentDetails(attempts.map((made) => `- ${made.at}: ${outcomeOf(made)}`).join("\n"));
        return answer;
      }
      await pause(answer.postponedMs, "until the receiver may be called again");
    }
  }

  async function pause(ms: number, summary: string): Promise<void> {
    await condition(() => wanted, Math.max(1, ms), { summary });
    wanted = false;
  }
}

function outcomeOf(attempt: WebhookAttempt): string {
  return attempt.error ?? `answered ${attempt.statusCode}`;
}
