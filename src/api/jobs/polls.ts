import type { Context } from "hono";
import { LRUCache } from "lru-cache";
import type { ApiEnv } from "../context.ts";

const COUNTED_EVERY_MS = 1000;
const MAX_REMEMBERED = 10_000;
/** The routes that read one job. */
const jobPath = /^(?:\/api\/v0)?\/(?:status|result|jobs)\/([0-9a-f-]{36})(?:\/result)?$/i;

/**
 * Which questions are only repeated: who asks for the same job several times within a second is counted once, because
 * the job is looked at only every now and then, however often somebody asks.
 */
export interface Polls {
  /** Whether the caller was told of this job within the last second, and counted for it. */
  isRepeated(c: Context<ApiEnv>): boolean;
  /** After a request that was counted. What the caller may not see, or is not there, is counted each time. */
  answered(c: Context<ApiEnv>): void;
}

export function createPolls(): Polls {
  const counted = new LRUCache<string, true>({ max: MAX_REMEMBERED, ttl: COUNTED_EVERY_MS });
  return {
    isRepeated(c) {
      const poll = pollOf(c);
      return poll !== undefined && counted.has(poll);
    },
    answered(c) {
      const poll = pollOf(c);
      if (poll !== undefined && c.res.status < 400) counted.set(poll, true);
    },
  };
}

/** Who asks for which job. */
function pollOf(c: Context<ApiEnv>): string | undefined {
  if (c.req.method !== "GET") return undefined;
  const id = jobPath.exec(c.req.path)?.[1]?.toLowerCase();
  return id && `${id} ${c.var.caller.tenant}`;
}
