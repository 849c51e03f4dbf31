import type { MiddlewareHandler } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { type Allowance, WINDOW_SECONDS } from "../http/rateLimits.ts";
import { createPolls, type Polls } from "../jobs/polls.ts";

const READS_PER_SUBMISSION = 10;

/** Counts submissions of each tenant, and tells how many are left. */
export function limitSubmissions(deps: ApiDeps): MiddlewareHandler<ApiEnv> {
  return limitRate(deps, "submission", 1);
}

/** The same for everything else that a key is needed for, but for questions that are only repeated. */
export function limitReads(deps: ApiDeps): MiddlewareHandler<ApiEnv> {
  return limitRate(deps, "read", READS_PER_SUBMISSION, createPolls());
}

const noPolls: Polls = { isRepeated: () => false, answered() {} };

/** @throws HttpError 429, from the middleware */
function limitRate(
  { limits, config }: ApiDeps,
  kind: "submission" | "read",
  factor: number,
  polls: Polls = noPolls,
): MiddlewareHandler<ApiEnv> {
  return async function limitRate(c, next) {
    const { tenant, rate = config.api.rateLimitPerMinute } = c.var.caller;
    if (polls.isRepeated(c)) {
      const left = await limits.take(kind, tenant, rate * factor, 0);
      for (const [name, value] of Object.entries(headersOf(left))) c.header(name, value);
      return await next();
    }
    const allowance = await limits.take(kind, tenant, rate * factor);
    if (!allowance.allowed) throw tooMany(kind === "read" ? "requests" : "submissions", allowance);
    for (const [name, value] of Object.entries(headersOf(allowance))) c.header(name, value);
    await next();
    polls.answered(c);
  };
}

/** @param what in plural words */
export function tooMany(what: string, allowance: Allowance): HttpError {
  const { limit, resetSeconds } = allowance;
  const message = `More than ${limit} ${what} in ${WINDOW_SECONDS} seconds; try again in ${resetSeconds} seconds`;
  const headers = { ...headersOf(allowance), "Retry-After": String(resetSeconds) };
  return new HttpError(429, "too_many_requests", message, { headers });
}

/** As in drafts 03 to 07 of "RateLimit header fields for HTTP" (IETF httpapi), which is what clients know. */
function headersOf({ limit, remaining, resetSeconds }: Allowance): Record<string, string> {
  return {
    "RateLimit-Limit": String(limit),
    "RateLimit-Remaining": String(remaining),
    "RateLimit-Reset": String(resetSeconds),
    "RateLimit-Policy": `${limit};w=${WINDOW_SECONDS}`,
  };
}
