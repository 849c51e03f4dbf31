import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import type { Config } from "../../config.ts";
import type { ApiEnv } from "../context.ts";

const codecPath = /^(?:\/api\/v0)?\/codec\//;

/** From where browsers may call: Temporal's Web UI has its payloads decrypted, and needs nothing else. */
export function crossOrigin({ api: { corsOrigins }, temporal: { uiOrigin } }: Config): MiddlewareHandler<ApiEnv> {
  const everywhere = cors({
    origin: corsOrigins.includes("*") ? "*" : corsOrigins,
    allowHeaders: [
      "Authorization",
      "Content-Type",
      "Idempotency-Key",
      "Last-Event-ID",
      "Prefer",
      "X-C3-RENDER-KEY",
      "X-Request-Id",
    ],
    exposeHeaders: [
      "Idempotent-Replayed",
      "Location",
      "Preference-Applied",
      "RateLimit-Limit",
      "RateLimit-Remaining",
      "RateLimit-Reset",
      "Retry-After",
      "X-Request-Id",
    ],
  });
  const codec = cors({
    origin: uiOrigin === undefined ? [] : [uiOrigin],
    allowMethods: ["POST"],
    allowHeaders: ["Authorization", "Authorization-Extras", "Content-Type", "X-Namespace"],
    // Of a proxy that the browser is signed in to; the API itself knows none.
    credentials: true,
  });
  return async function crossOrigin(c, next) {
    if (codecPath.test(c.req.path)) return uiOrigin === undefined ? await next() : await codec(c, next);
    return corsOrigins.length === 0 ? await next() : await everywhere(c, next);
  };
}
