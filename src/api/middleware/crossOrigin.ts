import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import type { Config } from "../../config/index.ts";
import type { ApiEnv } from "../context.ts";

const codecPath = /^(?:\/api\/v0)?\/codec\//;

const ownHeaders = [
  "Authorization",
  "Content-Encoding",
  "Content-Type",
  "Idempotency-Key",
  "Last-Event-ID",
  "Prefer",
  "X-C3-RENDER-KEY",
  "X-Request-Id",
];
const headersOfFiles = ["If-Modified-Since", "If-None-Match", "If-Range", "Range"];
/** Libraries that trace requests add these to every one (W3C Trace Context and Baggage, Sentry). */
const headersOfTracing = ["baggage", "sentry-trace", "traceparent", "tracestate"];
const exposeHeaders = [
  "Accept-Encoding",
  "Accept-Ranges",
  "Allow",
  "Content-Disposition",
  "Content-Length",
  "Content-Range",
  "ETag",
  "Idempotent-Replayed",
  "Last-Modified",
  "Location",
  "Preference-Applied",
  "RateLimit-Limit",
  "RateLimit-Policy",
  "RateLimit-Remaining",
  "RateLimit-Reset",
  "Retry-After",
  "WWW-Authenticate",
  "X-Request-Id",
];
/** Browsers keep what they were allowed for two hours at most (Chromium), or a day. */
const PREFLIGHT_SECONDS = 86_400;

/** From where browsers may call: Temporal's Web UI has its payloads decrypted, and needs nothing else. */
export function crossOrigin({ api: { corsOrigins }, temporal: { uiOrigin } }: Config): MiddlewareHandler<ApiEnv> {
  const everywhere = cors({
    origin: corsOrigins.includes("*") ? "*" : corsOrigins,
    allowHeaders: [...ownHeaders, ...headersOfFiles, ...headersOfTracing],
    exposeHeaders,
    maxAge: PREFLIGHT_SECONDS,
  });
  const codec = cors({
    origin: uiOrigin === undefined ? [] : [uiOrigin],
    allowMethods: ["POST"],
    allowHeaders: ["Authorization", "Authorization-Extras", "Content-Type", "X-Namespace"],
    // Of a proxy that the browser is signed in to; the API itself knows none.
    credentials: true,
    maxAge: PREFLIGHT_SECONDS,
  });
  return async function crossOrigin(c, next) {
    if (codecPath.test(c.req.path)) return uiOrigin === undefined ? await next() : await codec(c, next);
    return corsOrigins.length === 0 ? await next() : await everywhere(c, next);
  };
}
