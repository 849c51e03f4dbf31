import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import type { Logger } from "../../process/log.ts";
import type { Metrics } from "../../process/metrics.ts";
import type { ApiEnv } from "../context.ts";

/** The pattern of the route: paths themselves are without number. */
function routeOf(c: Context<ApiEnv>): string {
  return matchedRoutes(c).findLast(({ path }) => !path.endsWith("*"))?.path ?? "none";
}

/** One line per request: no headers and no query string, because secrets travel there. */
export function accessLog(log: Logger, metrics: Metrics): MiddlewareHandler<ApiEnv> {
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
    const { method, status } = request;
    metrics.requested({ method, route: routeOf(c), status }, request.durationMs / 1000);
    // Clients poll: what only reads and succeeds is a detail.
    const polled = c.req.method === "GET" && c.res.status < 400;
    log[polled ? "debug" : "info"](request, "request");
  };
}
