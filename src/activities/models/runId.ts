import { createHash } from "node:crypto";

/**
 * An id that every attempt at the run of one lease makes alike: a UUID of version 8 (RFC 9562), from the hash of
 * the lease's id, lower-case as the newest ComfyUI wants it.
 */
export function runIdOf(leaseId: string): string {
  const hash = createHash("sha256").update(leaseId).digest("hex");
  const variant = ((Number.parseInt(hash[16] ?? "0", 16) & 0x3) | 0x8).toString(16);
  return [
    hash.slice(0, 8),
    hash.slice(8, 12),
    `8${hash.slice(13, 16)}`,
    `${variant}${hash.slice(17, 20)}`,
    hash.slice(20, 32),
  ].join("-");
}
