import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { z } from "zod";
import type { OidcConfig } from "../../config/index.ts";
import type { Logger } from "../../process/log.ts";
import type { Caller } from "../context.ts";
import { unavailable } from "../http/errors.ts";

const ISSUER_TIMEOUT_MS = 5000;
const CLOCK_TOLERANCE_SECONDS = 30;
/**
 * OpenID Connect Core 1.0, section 2: at most 255 characters. Temporal's visibility store finds nothing by a name
 * with a double quote or a backslash, whichever way they are escaped (server 1.29). Half of a surrogate pair is no character.
 */
const claimsSchema = z.looseObject({ sub: z.string().regex(/^[^"\\\p{Cc}\p{Cs}]{1,255}$/u) });

/**
 * Checks tokens (JWT) of an OpenID Connect issuer, whose keys are fetched when the first token comes and then kept.
 * @param reserved tenants that have keys: a token whose subject happens to be called like one must not be one
 * @returns the caller, or undefined for what is no token, or none that is valid here
 * @throws HttpError 503 when the issuer's keys cannot be had
 */
export function createTokenCheck(oidc: OidcConfig, reserved: ReadonlySet<string>, log: Logger) {
  const { issuer, audience } = oidc;
  const checks = {
    issuer,
    ...(audience !== undefined && { audience }),
    requiredClaims: ["exp", "sub"],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
  };
  let keys: Promise<JWTVerifyGetKey> | undefined;

  async function keysOfIssuer(): Promise<JWTVerifyGetKey> {
    keys ??= discoverKeys(issuer);
    try {
      return await keys;
    } catch (error) {
      keys = undefined;
      throw error;
    }
  }

  return async (token: string): Promise<Caller | undefined> => {
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) return undefined;
    try {
      const { payload } = await jwtVerify(token, await keysOfIssuer(), checks);
      const { data } = claimsSchema.safeParse(payload);
      if (data === undefined || reserved.has(data.sub)) return undefined;
      return { tenant: data.sub, admin: isAdmin(payload, oidc.admin) };
    } catch (error) {
      if (isFaultOfToken(error)) return undefined;
      log.warn({ err: error, issuer }, "the keys of the issuer cannot be had");
      throw unavailable("issuer_unavailable", "The issuer of the token cannot be reached");
    }
  };
}

/** OpenID Connect Discovery 1.0, section 4. */
async function discoverKeys(issuer: string): Promise<JWTVerifyGetKey> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const response = await fetch(url, { signal: AbortSignal.timeout(ISSUER_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const documentSchema = z.object({ issuer: z.literal(issuer), jwks_uri: z.url({ protocol: /^https?$/ }) });
  const { jwks_uri: keysUrl } = documentSchema.parse(await response.json());
  return createRemoteJWKSet(new URL(keysUrl), { timeoutDuration: ISSUER_TIMEOUT_MS });
}

/** Of what the library throws, these say that the issuer's keys could not be had; all others are about the token. */
const faultsOfIssuer = new Set(["ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID", "ERR_JOSE_GENERIC"]);

function isFaultOfToken(error: unknown): boolean {
  return error instanceof errors.JOSEError && !faultsOfIssuer.has(error.code);
}

/** The claim is a list, or words with spaces between them, as `scope` is. */
function isAdmin(payload: JWTPayload, admin: OidcConfig["admin"]): boolean {
  if (admin === undefined) return false;
  const value = payload[admin.claim];
  const values: unknown[] = typeof value === "string" ? value.split(" ") : Array.isArray(value) ? value : [];
  return values.includes(admin.value);
}
