import ipaddr from "ipaddr.js";

/** What an address that a caller named may not lead to is decided here, and nowhere else. */

const globalUnicast = ipaddr.IPv6.parseCIDR("2000::/3");
/** Teredo, and the NAT64 prefix with its local-use form, carry an IPv4 address; 6to4 does too. */
const embedding = new Set(["6to4", "teredo", "rfc6052", "rfc6145", "ipv4Mapped"]);

/**
 * Addresses of public ranges that lead inside at some providers: Azure's platform
 * (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16), Equinix Metal's metadata, and the service endpoints of
 * IBM Cloud (https://cloud.ibm.com/docs/vpc?topic=vpc-service-endpoints-for-vpc). Those of the others lie in private ranges.
 */
const insideOfProviders = ["168.63.129.16/32", "192.80.8.124/32", "161.26.0.0/16", "166.8.0.0/14"].map((range) =>
  ipaddr.IPv4.parseCIDR(range),
);

/**
 * Whether an IP address is public unicast: IPv4 outside of every special range, IPv6 only inside 2000::/3
 * and with no IPv4 address embedded, since what stands behind a translation cannot be seen.
 */
export function isPublicAddress(address: string): boolean {
  // A zone (`fe80::1%eth0`) makes sense for local addresses only.
  if (!ipaddr.isValid(address) || address.includes("%")) return false;
  const parsed = ipaddr.process(address);
  if (parsed.kind() === "ipv4") {
    return parsed.range() === "unicast" && !insideOfProviders.some((range) => parsed.match(range));
  }
  const range = parsed.range();
  return range === "unicast" && !embedding.has(range) && !isIsatap(parsed) && parsed.match(globalUnicast);
}

/** RFC 5214, section 6.1: an interface identifier that ends in an IPv4 address, below any prefix. */
function isIsatap(address: ipaddr.IPv4 | ipaddr.IPv6): boolean {
  const [upper = 0, lower] = "parts" in address ? address.parts.slice(4) : [];
  return (upper & ~0x0200) === 0 && lower === 0x5efe;
}

/**
 * Whether a URL names, by its literal host, an address that is not public: what can be refused before
 * anything is looked up. The URL parser has already turned `0x7f.1` and `2130706433` into `127.0.0.1`.
 */
export function namesPrivateAddress(url: URL): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  return ipaddr.isValid(host) && !isPublicAddress(host);
}
