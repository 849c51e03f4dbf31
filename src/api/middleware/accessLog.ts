import type { MiddlewareHandler } from "hono";
import type { Logger } from "../../log.ts";
import type { ApiEnv } from "../context.ts";

/** One line per request: no headers and no query string, because secrets travel there. */
export function accessLog(log: Logger): MiddlewareHandler<ApiEnv> {
  return async function accessLog(c, next) {
    const startedAt = performance.now();
    await next();
    const request = {
      requestId: c.var.requestId,
      method: c.req.method,
      path: c.req.path,
      status: c.res.status,
      durationMs: Math.round(performance.now() - startedAt),
    };
    // Clients poll: what only reads and succeeds is a detail.
    const polled = c.req.method === "GET" && c.res.status < 400;
    log[polled ? "debug" : "info"](request, "request");
  };
}
