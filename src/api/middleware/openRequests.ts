import type { HttpBindings } from "@hono/node-server";
import type { MiddlewareHandler } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";

const RETRY_AFTER_SECONDS = 5;

/**
 * Bounds what is under way of each tenant in this process: bodies that are still to come, answers that wait for a job, and
 * streams until they end or their reader has gone.
 * @throws HttpError 429, from the middleware
 */
export function limitOpenRequests({ config }: ApiDeps): MiddlewareHandler<ApiEnv> {
  const limit = config.api.maxOpenRequests;
  const open = new Map<string, number>();

  function release(tenant: string): void {
    const left = (open.get(tenant) ?? 0) - 1;
    if (left > 0) open.set(tenant, left);
    else open.delete(tenant);
  }

  return async function limitOpenRequests(c, next) {
    const { tenant } = c.var.caller;
    const count = open.get(tenant) ?? 0;
    if (count >= limit) {
      const message = `${limit} requests are open already; end some of the streams and waits, or try again later`;
      const headers = { "Retry-After": String(RETRY_AFTER_SECONDS) };
      throw new HttpError(429, "too_many_open_requests", message, { headers });
    }
    open.set(tenant, count + 1);
    // A stream goes on when its handler has returned; this comes at the end of every answer, read or not.
    const { outgoing } = c.env as HttpBindings;
    outgoing.once("close", () => release(tenant));
    await next();
  };
}
