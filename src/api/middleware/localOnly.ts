import type { MiddlewareHandler } from "hono";
import type { Config } from "../../config/index.ts";
import type { ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";

const SAFE_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);
const loopbackName = /^(?:localhost|[^/]+\.localhost|127(?:\.\d+){3}|\[::1\])$/;

/**
 * An API without a key, which only this machine can reach, is open to every page in a browser on it. A page may let its own
 * name lead to this machine (DNS rebinding), so only requests for the machine's own names are answered; and it may send
 * what it cannot read the answer of, so what changes something is taken from this origin and `CORS_ORIGINS` alone. Programs
 * say neither `Sec-Fetch-Site` nor `Origin`, and pass.
 * @throws HttpError 403, 421
 */
export function localOnly({ api, temporal: { uiOrigin } }: Config): MiddlewareHandler<ApiEnv> {
  const publicUrl = api.publicUrl === undefined ? undefined : new URL(api.publicUrl);
  const isOwnName = ({ hostname }: URL) => loopbackName.test(hostname) || hostname === publicUrl?.hostname;
  const allowed = new Set([...api.corsOrigins, publicUrl?.origin, uiOrigin]);
  /** Old browsers say no `Sec-Fetch-Site`; where there is an `Origin`, it says more. */
  const isFromElsewhere = (own: string, origin: string | undefined, site = "none") =>
    origin === undefined
      ? site !== "none" && site !== "same-origin"
      : origin !== own && !allowed.has("*") && !allowed.has(origin);

  return async function localOnly(c, next) {
    if (api.requiresKey || api.allowUnauthenticated) return await next();
    const url = new URL(c.req.url);
    if (!isOwnName(url)) {
      const message = `Without a key this API answers to localhost and to PUBLIC_URL, not to ${url.hostname}`;
      throw new HttpError(421, "misdirected_request", message);
    }
    const changes = !SAFE_METHODS.has(c.req.method);
    if (changes && isFromElsewhere(url.origin, c.req.header("Origin"), c.req.header("Sec-Fetch-Site"))) {
      const message =
        "Without a key this API takes nothing from pages of other sites; CORS_ORIGINS names those that may";
      throw new HttpError(403, "cross_site_request", message);
    }
    await next();
  };
}
