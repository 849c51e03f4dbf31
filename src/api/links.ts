import type { Context } from "hono";
import type { ApiConfig } from "../config.ts";

/**
 * The base of the links in an answer, without a trailing slash: the configured one, else the origin that the
 * caller asked. What a proxy says of that origin counts only when proxies are trusted.
 */
export function baseUrlOf(c: Context, { publicUrl, trustProxy }: Pick<ApiConfig, "publicUrl" | "trustProxy">): string {
  if (publicUrl !== undefined) return publicUrl;
  const { origin, protocol, host } = new URL(c.req.url);
  if (!trustProxy) return origin;
  const scheme = firstOf(c.req.header("X-Forwarded-Proto")) ?? protocol.slice(0, -1);
  const forwarded = `${scheme}://${firstOf(c.req.header("X-Forwarded-Host")) ?? host}`;
  return /^https?:\/\/[^/?#@\\\s]+$/.test(forwarded) && URL.canParse(forwarded) ? new URL(forwarded).origin : origin;
}

/** Each proxy appends to the list; the first one saw the caller. */
function firstOf(header: string | undefined): string | undefined {
  return header?.split(",")[0]?.trim() || undefined;
}
