import {
  type IRateLimiterOptions,
  type RateLimiterAbstract,
  RateLimiterMemory,
  RateLimiterRedis,
  RateLimiterRes,
} from "rate-limiter-flexible";
import type { ApiConfig } from "../../config/index.ts";
import { type Logger, withoutQuery } from "../../process/log.ts";

export const WINDOW_SECONDS = 60;
const REDIS_TIMEOUT_MS = 500;
const OUTAGE_LOGGED_EVERY_MS = 60_000;

/** What is left of a limit. */
export interface Allowance {
  allowed: boolean;
  /** Per minute. */
  limit: number;
  remaining: number;
  resetSeconds: number;
}

/** Takes `count` (one) of the `perMinute` that `who` (a tenant, or an address) may have of a kind. */
type Take = (
  kind: "submission" | "read" | "failure",
  who: string,
  perMinute: number,
  count?: 0 | 1,
) => Promise<Allowance>;

export interface RateLimits {
  take: Take;
  close(): void;
}

/**
 * Counts in memory, or in a Redis that several processes share. While that one does not answer, each process
 * counts alone: a limit must not be what takes the service down.
 */
export async function createRateLimits(
  { rateLimitRedisUrl: url }: Pick<ApiConfig, "rateLimitRedisUrl">,
  log: Logger,
): Promise<RateLimits> {
  const takeAlone = takeFrom((options) => new RateLimiterMemory(options));
  if (url === undefined) return { take: takeAlone, close() {} };

  let loggedAt = Number.NEGATIVE_INFINITY;
  const logOutage = (error: unknown) => {
    if (performance.now() - loggedAt < OUTAGE_LOGGED_EVERY_MS) return;
    loggedAt = performance.now();
    log.warn({ err: error, redis: withoutQuery(url) }, "Redis does not answer: this process counts alone");
  };
  const redis = await connectRedis(url, logOutage);
  const takeTogether = takeFrom(
    (options) =>
      new RateLimiterRedis({
        ...options,
        storeClient: redis,
        rejectIfRedisNotReady: true,
        // Whoever is over the limit is refused without asking Redis again.
        ...(options.points !== undefined && { inMemoryBlockOnConsumed: options.points }),
      }),
  );
  return {
    async take(...wanted) {
      try {
        return await takeTogether(...wanted);
      } catch (error) {
        logOutage(error);
        return await takeAlone(...wanted);
      }
    },
    close: () => redis.disconnect(),
  };
}

/** @param createLimiter called once for each limit that there is */
function takeFrom(createLimiter: (options: IRateLimiterOptions) => RateLimiterAbstract): Take {
  const limiters = new Map<string, RateLimiterAbstract>();
  return async (kind, who, limit, count = 1) => {
    const id = `${kind} ${limit}`;
    const options = { keyPrefix: `c3-render:${kind}`, points: limit, duration: WINDOW_SECONDS };
    const limiter = limiters.get(id) ?? createLimiter(options);
    limiters.set(id, limiter);
    try {
      return { allowed: true, limit, ...restOf(await limiter.consume(who, count)) };
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      return { allowed: false, limit, ...restOf(refusal) };
    }
  };
}

function restOf({ remainingPoints, msBeforeNext }: RateLimiterRes) {
  return { remaining: Math.max(0, remainingPoints), resetSeconds: Math.max(1, Math.ceil(msBeforeNext / 1000)) };
}

/** Loaded only here, because few need it. It goes on trying to connect, whatever happens. */
async function connectRedis(url: string, onError: (error: unknown) => void) {
  const { Redis } = await import("ioredis");
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: REDIS_TIMEOUT_MS,
    commandTimeout: REDIS_TIMEOUT_MS,
  });
  redis.on("error", onError);
  // Who starts together should count together from the first request on.
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, REDIS_TIMEOUT_MS);
    redis.once("ready", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  return redis;
}
