import type { Context, MiddlewareHandler } from "hono";
import { addressOf } from "../auth/address.ts";
import { createKeyTable, DEFAULT_TENANT } from "../auth/keyTable.ts";
import { createTokenCheck } from "../auth/tokens.ts";
import type { ApiDeps, ApiEnv, Caller } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { tooMany } from "./rateLimit.ts";

/**
 * Lets a request pass that carries a key, as `X-C3-RENDER-KEY` or as a bearer token, or a token of the configured
 * issuer; every request when neither is configured. Wrong keys are counted by address and cost no more than the
 * look that finds them wrong, so that right ones pass whatever else comes from there.
 * @throws HttpError 401; 429 for wrong keys after too many of them; 503 when the issuer cannot be reached
 */
export function authenticate({ config: { api }, limits, log }: ApiDeps): MiddlewareHandler<ApiEnv> {
  const callerOfKey = createKeyTable(api);
  const reserved = new Set([DEFAULT_TENANT, ...api.keys.map(({ name }) => name)]);
  const callerOfToken = api.oidc && createTokenCheck(api.oidc, reserved, log);

  async function identify(c: Context<ApiEnv>): Promise<Caller> {
    const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header("Authorization") ?? "")?.[1];
    const offered = [c.req.header("X-C3-RENDER-KEY"), bearer].filter((value) => value !== undefined);
    if (offered.length === 0) throw unauthorized("missing_key", "An API key is required");
    for (const key of offered) {
      const caller = callerOfKey(key);
      if (caller !== undefined) return caller;
    }
    const caller = bearer === undefined ? undefined : await callerOfToken?.(bearer);
    if (caller !== undefined) return caller;
    const allowance = await limits.take("failure", addressOf(c, api.trustProxy), api.authFailuresPerMinute);
    if (!allowance.allowed) throw tooMany("failed authentications", allowance);
    throw unauthorized("invalid_key", "The API key is not valid");
  }

  return async function authenticate(c, next) {
    c.set("caller", api.requiresKey ? await identify(c) : { tenant: DEFAULT_TENANT, admin: true });
    await next();
  };
}

function unauthorized(code: string, message: string): HttpError {
  return new HttpError(401, code, message, { headers: { "WWW-Authenticate": "Bearer" } });
}
