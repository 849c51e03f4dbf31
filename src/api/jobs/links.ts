import type { Context } from "hono";
import type { ApiConfig } from "../../config/index.ts";
import { urlOf } from "../../lib/url.ts";

type Proxying = Pick<ApiConfig, "publicUrl" | "trustProxy">;

/** Every route is served under each of them. */
export const BASE_PATHS = ["/", "/api/v0"];

/**
 * The base of the links in an answer, without a trailing slash: the configured one, else the origin that the
 * caller asked, with the path that a proxy takes away. What a proxy says counts only when proxies are trusted.
 */
export function baseUrlOf(c: Context, { publicUrl, trustProxy }: Proxying): string {
  if (publicUrl !== undefined) return publicUrl;
  const { origin, protocol, host } = new URL(c.req.url);
  if (!trustProxy) return origin;
  const scheme = firstOf(c.req.header("X-Forwarded-Proto")) ?? protocol.slice(0, -1);
  const forwarded = `${scheme}://${firstOf(c.req.header("X-Forwarded-Host")) ?? host}`;
  const url = /^https?:\/\/[^/?#@\\\s]+$/.test(forwarded) ? urlOf(forwarded) : undefined;
  return `${url?.origin ?? origin}${forwardedPrefix(c)}`;
}

/** `path` of the API as the caller of this request can ask for it: under the same base path, and where a proxy serves it. */
export function pathFor(c: Context, path: `/${string}`, { publicUrl, trustProxy }: Proxying): string {
  const asked = new URL(c.req.url).pathname;
  const base = BASE_PATHS.findLast((prefix) => prefix !== "/" && asked.startsWith(`${prefix}/`)) ?? "";
  const outside = publicUrl === undefined ? (trustProxy ? forwardedPrefix(c) : "") : new URL(publicUrl).pathname;
  return `${outside.replace(/\/$/, "")}${base}${path}`;
}

/** The start of the path that a proxy has taken away, without a trailing slash. Two slashes would be another host. */
function forwardedPrefix(c: Context): string {
  const prefix = firstOf(c.req.header("X-Forwarded-Prefix")) ?? "";
  return /^(?:\/[\w.~%-]+)+\/?$/.test(prefix) ? prefix.replace(/\/$/, "") : "";
}

/** Each proxy appends to the list; the first one saw the caller. */
function firstOf(header: string | undefined): string | undefined {
  return header?.split(",")[0]?.trim() || undefined;
}
