import { getConnInfo } from "@hono/node-server/conninfo";
import type { Context } from "hono";
import ipaddr from "ipaddr.js";

const HALF_OF_IPV6 = 4;

/**
 * Whom failed authentications are counted for: an IPv4 address, or the network of an IPv6 address, because whoever
 * has one of those has all of it. Behind a trusted proxy it is the last address in `X-Forwarded-For`: that one
 * the proxy saw itself, those before it anybody may have written.
 */
export function addressOf(c: Context, trustProxy: boolean): string {
  const direct = getConnInfo(c).remote.address ?? "unknown";
  const forwarded = trustProxy ? c.req.header("X-Forwarded-For")?.split(",").at(-1)?.trim() : undefined;
  const address = forwarded !== undefined && ipaddr.isValid(forwarded) ? forwarded : direct;
  if (!ipaddr.isValid(address)) return address;
  const parsed = ipaddr.process(address);
  if (!(parsed instanceof ipaddr.IPv6)) return parsed.toString();
  return `${parsed.parts
    .slice(0, HALF_OF_IPV6)
    .map((part) => part.toString(16))
    .join(":")}::/64`;
}
