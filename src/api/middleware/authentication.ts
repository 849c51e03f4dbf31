import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import type { ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";

/** The tenant of the single key, and of everybody where no key is needed. */
const DEFAULT_TENANT = "default";

/**
 * Lets a request pass that carries `key`, as `X-C3-RENDER-KEY` or as a bearer token; every request when no
 * key is configured.
 * @throws HttpError 401
 */
export function authenticate(key: string | undefined): MiddlewareHandler<ApiEnv> {
  const expected = key === undefined ? undefined : digest(key);
  return async function authenticate(c, next) {
    if (expected !== undefined) {
      const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header("Authorization") ?? "")?.[1];
      const offered = [c.req.header("X-C3-RENDER-KEY"), bearer].filter((value) => value !== undefined);
      if (offered.length === 0) throw unauthorized("missing_key", "An API key is required");
      if (!offered.some((value) => timingSafeEqual(digest(value), expected))) {
        throw unauthorized("invalid_key", "The API key is not valid");
      }
    }
    c.set("caller", { tenant: DEFAULT_TENANT, admin: true });
    await next();
  };
}

/** Digests have one length, which the constant-time comparison needs, and tell nothing of the key's. */
function digest(value: string): Buffer {
  return createHash("sha256").update(value).digest();
}

function unauthorized(code: string, message: string): HttpError {
  return new HttpError(401, code, message, { headers: { "WWW-Authenticate": "Bearer" } });
}
