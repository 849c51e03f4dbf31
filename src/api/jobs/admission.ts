import type { TenantCounts } from "../../gpus/types.ts";
import type { ApiDeps, Caller } from "../context.ts";
import type { QueueReports } from "../gpus/queueReports.ts";
import { HttpError, unavailable } from "../http/errors.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { onceIn } from "../http/ttlCache.ts";
import { quoted } from "./searchQuery.ts";

const QUEUED = "WorkflowType = 'renderJob' AND ExecutionStatus = 'Running' AND JobState = 'queued'";
const KEPT_FOR_MS = 250;
const REACHED_FOR_MS = 1000;
const ANSWER_WITHIN_MS = 2000;
const RETRY_AFTER_SECONDS = 30;
/** A default server of Temporal counts and lists ten times a second, for everybody. */
const COUNTED_FOR_MS = 10_000;
/** A count that failed is not made again at once. */
const COUNT_EVERY_MS = 3000;
/** What was started is counted a little later. */
const COUNT_LAG_MS = 2000;
/** And the clocks of those who list it may differ from ours. */
const LIST_LAG_MS = 10_000;
/** What nobody has spoken of for so long waits no more. */
const FORGOTTEN_MS = 600_000;
const MAX_COUNTS = 10_000;

/** Whose jobs a limit is for: those of one tenant, or all. */
interface Scope {
  tenant?: string;
  limit: number;
}

interface Count {
  jobs: number;
  /** `performance.now()` when it began. */
  at: number;
}

/** By tenant, as published. */
interface Published {
  /** In the order of a pool that spoke a moment ago. */
  sure: TenantCounts;
  /** On their way to a pool when the reconciler looked, or in one that has been silent since. */
  unsure: TenantCounts;
}

/**
 * Refuses jobs while too many wait. How many there are is what the pools say, what the reconciler saw outside of them,
 * and what this process has admitted and nobody has spoken of yet. That may be too many, since some of the latter have
 * ended: so Temporal is asked, rarely, before a job is refused for their sake. The limits are therefore not exact:
 * docs/operations.md says by how much.
 * While Temporal does not answer, no job is admitted: it would hardly take one either, and so much as is refused here
 * was surely not started.
 * @returns a function that admits one more job of a caller, or throws HttpError 429 or 503, or what Temporal's trouble is
 */
export function createAdmission(
  { client, config, log }: Pick<ApiDeps, "client" | "config" | "log">,
  reports: QueueReports,
) {
  const { maxQueued, maxQueuedPerTenant } = config.api;
  const { namespace } = client.options;
  /** By id: admitted here, at which `performance.now()`, and not spoken of yet. */
  const own = new Map<string, { tenant: string; at: number }>();
  const counts = new Map<string, Count>();
  let published: Published = { sure: [], unsure: [] };

  const reach = onceIn(REACHED_FOR_MS, () =>
    temporalCall(client, () => client.workflowService.describeNamespace({ namespace }), ANSWER_WITHIN_MS),
  );

  const look = onceIn(KEPT_FOR_MS, async () => {
    try {
      const [elsewhere, ...found] = await Promise.all([
        reports.elsewhere(),
        ...Object.keys(config.gpu.pools).map((type) => reports.pool(type)),
      ]);
      const pools = found.filter((report) => report !== undefined);
      const [fresh, stale] = [pools.filter(reports.isFresh), pools.filter((report) => !reports.isFresh(report))];
      const unsure = [...stale, ...(elsewhere === undefined ? [] : [elsewhere])];
      published = { sure: fresh.flatMap(({ waiting }) => waiting), unsure: unsure.flatMap(({ waiting }) => waiting) };
      for (const { status } of fresh) {
        for (const { jobId } of status.queue) own.delete(jobId);
        for (const { lease } of status.gpus) own.delete(lease?.jobId ?? "");
      }
      const unspokenMs = Math.min(Date.now() - (elsewhere?.at ?? 0) + LIST_LAG_MS, FORGOTTEN_MS);
      const spokenOf = performance.now() - unspokenMs;
      for (const [jobId, { at }] of own) if (at < spokenOf) own.delete(jobId);
    } catch (error) {
      log.warn({ err: error }, "how many jobs wait cannot be read; what was read before is taken");
    }
  });

  const recount = onceIn(COUNT_EVERY_MS, async (query) => {
    const at = performance.now();
    try {
      const { count } = await temporalCall(client, () => client.workflow.count(query), ANSWER_WITHIN_MS);
      if (counts.size >= MAX_COUNTS) counts.clear();
      counts.set(query, { jobs: count, at });
    } catch (error) {
      log.warn({ err: error }, "waiting jobs cannot be counted; what is published of them is taken");
    }
  });

  function isFull(scope: Scope): "yes" | "no" | "perhaps" {
    const { limit } = scope;
    const sure = sum(published.sure, scope);
    if (sure >= limit) return "yes";
    if (sure + sum(published.unsure, scope) + admittedSince(Number.NEGATIVE_INFINITY, scope) < limit) return "no";
    const count = counts.get(queryOf(scope));
    if (count === undefined || count.at < performance.now() - COUNTED_FOR_MS) return "perhaps";
    return count.jobs + admittedSince(count.at - COUNT_LAG_MS, scope) < limit ? "no" : "yes";
  }

  function admittedSince(since: number, scope: Scope): number {
    let jobs = 0;
    for (const { tenant, at } of own.values()) if (at >= since && isOf(scope, tenant)) jobs += 1;
    return jobs;
  }

  return async ({ tenant }: Caller, jobId: string): Promise<void> => {
    await Promise.all([reach(""), look("")]);
    const all: Scope = { limit: maxQueued };
    const theirs: Scope = { tenant, limit: maxQueuedPerTenant };
    await Promise.all([all, theirs].map((one) => isFull(one) === "perhaps" && recount(queryOf(one))));
    // What nobody counts is taken to be as it was published.
    if (isFull(all) !== "no") throw unavailable("queue_full", "Too many jobs are waiting; try again later");
    if (isFull(theirs) !== "no") {
      const headers = { "Retry-After": String(RETRY_AFTER_SECONDS) };
      throw new HttpError(429, "tenant_queue_full", `More than ${maxQueuedPerTenant} of your jobs are waiting`, {
        headers,
      });
    }
    own.set(jobId, { tenant, at: performance.now() });
  };
}

function queryOf({ tenant }: Scope): string {
  return tenant === undefined ? QUEUED : `${QUEUED} AND Tenant = ${quoted(tenant)}`;
}

function isOf(scope: Scope, tenant: string): boolean {
  return scope.tenant === undefined || scope.tenant === tenant;
}

function sum(counts: TenantCounts, scope: Scope): number {
  return counts.reduce((total, [tenant, jobs]) => (isOf(scope, tenant) ? total + jobs : total), 0);
}
