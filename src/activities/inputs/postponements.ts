import { ApplicationFailure, ApplicationFailureCategory } from "@temporalio/common";

const WINDOW_MS = 60_000;
const LEAST_MS = 3000;
const MOST_MS = 120_000;
/** The more jobs of a tenant are put off, the later each comes back: together they come equally often. */
const MS_EACH = 250;

/** Puts jobs off whose tenant has enough under way, for longer the more there are of them. */
export function createPostponements() {
  const recent = new Map<string, { since: number; count: number }>();

  function countOf(tenant: string): number {
    const now = performance.now();
    for (const [key, { since }] of recent) if (now - since > WINDOW_MS) recent.delete(key);
    const seen = recent.get(tenant) ?? { since: now, count: 0 };
    seen.count += 1;
    recent.set(tenant, seen);
    return seen.count;
  }

  return {
    next(tenant: string): ApplicationFailure {
      const pauseMs = Math.min(Math.max(LEAST_MS, countOf(tenant) * MS_EACH), MOST_MS);
      return ApplicationFailure.create({
        message: "the inputs wait until those of other jobs of this tenant were downloaded",
        type: "InputsPostponed",
        nextRetryDelay: Math.round(pauseMs * (1 + Math.random())),
        category: ApplicationFailureCategory.BENIGN,
      });
    },
  };
}
