import type { ApiDeps, Caller } from "./context.ts";
import { HttpError, unavailable } from "./errors.ts";
import { quoted } from "./searchQuery.ts";
import { temporalCall } from "./temporalCall.ts";

const QUEUED = "WorkflowType = 'renderJob' AND ExecutionStatus = 'Running' AND JobState = 'queued'";
const COUNTED_FOR_MS = 1000;
const ANSWER_WITHIN_MS = 2000;
const RETRY_AFTER_SECONDS = 30;
/** Tenants whose counts are remembered. */
const MAX_TALLIES = 10_000;

/** How many wait, as far as this process knows. */
interface Tally {
  /** As Temporal counted last. */
  queued: number;
  /** Admitted here since that count began. */
  admitted: number;
  countedAt: number;
  /** Why the last count failed: then nobody knows how many wait. */
  trouble?: unknown;
  counting?: Promise<void> | undefined;
}

/**
 * Refuses jobs while too many wait. Temporal is asked at most once a second per tenant, however many jobs
 * arrive; in between, what this process admits is added. The limits are therefore not exact: processes side by side
 * do not see what the others admitted within the last second, nor what Temporal has not listed yet.
 * While Temporal does not count, no job is admitted: it would hardly take one either, and so much as is refused here
 * was surely not started.
 * @returns a function that admits one more job of a caller, or throws HttpError 429 or 503, or what Temporal's trouble is
 */
export function createAdmission({ client, config, log }: Pick<ApiDeps, "client" | "config" | "log">) {
  const { maxQueued, maxQueuedPerTenant } = config.api;
  const tallies = new Map<string, Tally>();

  async function tallyOf(query: string): Promise<Tally> {
    if (tallies.size > MAX_TALLIES) tallies.clear();
    const tally = tallies.get(query) ?? { queued: 0, admitted: 0, countedAt: Number.NEGATIVE_INFINITY };
    tallies.set(query, tally);
    if (performance.now() - tally.countedAt > COUNTED_FOR_MS) {
      tally.counting ??= recount(query, tally);
      await tally.counting;
    }
    if (tally.trouble !== undefined) throw tally.trouble;
    return tally;
  }

  async function recount(query: string, tally: Tally): Promise<void> {
    const included = tally.admitted;
    try {
      const { count } = await temporalCall(client, () => client.workflow.count(query), ANSWER_WITHIN_MS);
      tally.queued = count;
      tally.admitted -= included;
      tally.trouble = undefined;
    } catch (error) {
      log.warn({ err: error }, "waiting jobs cannot be counted");
      tally.trouble = error;
    }
    tally.countedAt = performance.now();
    tally.counting = undefined;
  }

  return async ({ tenant }: Caller): Promise<void> => {
    const [all, own] = await Promise.all([tallyOf(QUEUED), tallyOf(`${QUEUED} AND Tenant = ${quoted(tenant)}`)]);
    if (all.queued + all.admitted >= maxQueued) {
      throw unavailable("queue_full", "Too many jobs are waiting; try again later");
    }
    if (own.queued + own.admitted >= maxQueuedPerTenant) {
      const headers = { "Retry-After": String(RETRY_AFTER_SECONDS) };
      throw new HttpError(429, "tenant_queue_full", `More than ${maxQueuedPerTenant} of your jobs are waiting`, {
        headers,
      });
    }
    all.admitted += 1;
    own.admitted += 1;
  };
}
