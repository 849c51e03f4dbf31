import type { HttpBindings } from "@hono/node-server";
import type { MiddlewareHandler } from "hono";
import { createFairLimit } from "../../lib/fairLimit.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";

const RETRY_AFTER_SECONDS = 5;

/**
 * Bounds what is under way of each tenant in this process: bodies that are still to come, answers that wait for a job, and
 * streams until they end or their reader has gone.
 * @throws HttpError 429, from the middleware
 */
export function limitOpenRequests({ config }: ApiDeps): MiddlewareHandler<ApiEnv> {
  const limit = config.api.maxOpenRequests;
  const open = createFairLimit({ perKey: limit });

  return async function limitOpenRequests(c, next) {
    const { tenant } = c.var.caller;
    if (open.count(tenant) >= limit) {
      const message = `${limit} requests are open already; end some of the streams and waits, or try again later`;
      const headers = { "Retry-After": String(RETRY_AFTER_SECONDS) };
      throw new HttpError(429, "too_many_open_requests", message, { headers });
    }
    const { outgoing } = c.env as HttpBindings;
    // A stream goes on when its handler has returned; this comes at the end of every answer, read or not.
    const ended = () => new Promise<void>((resolve) => outgoing.once("close", resolve));
    void open.run([tenant], ended);
    await next();
  };
}
