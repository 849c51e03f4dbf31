import { z } from "zod";
import type { JobEnding, JobResult } from "./job.ts";
import { finalStates } from "./states.ts";

/** How a job ended, and what came of it. */
export interface JobOutcome {
  ending: JobEnding;
  /** Of a success. */
  result?: JobResult;
}

/** What is told to the caller of a job that ended. */
export interface WebhookRequest extends JobOutcome {
  jobId: string;
  /** Whose secrets sign it. */
  tenant: string;
  url: string;
  metadata?: Record<string, unknown>;
}

/** One attempt to deliver a webhook, as its ledger keeps it. */
export interface WebhookAttempt {
  /** ISO 8601 */
  at: string;
  delivered: boolean;
  /** The receiver's answer, if there was one. */
  statusCode?: number;
  ms: number;
  /** Where the receiver's redirect leads that was not followed; without its query. */
  location?: string;
  error?: string;
  /** No further attempt can help. */
  permanent?: boolean;
  /** The receiver asks for that much time. */
  retryAfterMs?: number;
}

/** What is known of a job's webhook: enough to send it again when Temporal has forgotten the job. */
export interface WebhookLedger {
  request: WebhookRequest;
  /** The first one first; those of replays, too. */
  attempts: WebhookAttempt[];
}

const outcomeCore = z.object({ ending: z.object({ state: z.enum(finalStates) }) });
export const outcomeSchema = z.custom<JobOutcome>((value) => outcomeCore.safeParse(value).success);

/** As much of it as the answers are made from. */
const ledgerCore = z.object({
  request: z.object({
    jobId: z.string(),
    tenant: z.string(),
    url: z.string(),
    ending: z.object({ state: z.string() }),
  }),
  attempts: z.array(z.object({ at: z.string(), delivered: z.boolean(), ms: z.number() })),
});
export const ledgerSchema = z.custom<WebhookLedger>((value) => ledgerCore.safeParse(value).success);
