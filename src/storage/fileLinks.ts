import { createHmac, timingSafeEqual } from "node:crypto";
import type { LinkOptions } from "./objectStore.ts";

/** Shorter secrets can be guessed. */
export const MIN_SECRET_CHARS = 16;

/**
 * Links to files that the API serves itself, at `/files/<key>?expires=…&signature=…`. The signature is
 * HMAC-SHA256 over key, expiry and download name, so that none of them can be changed; whoever has a link may add `inline=1`.
 */
export function signedPath(secret: string, key: string, options: LinkOptions): string {
  const { expiresInSeconds, downloadName, inline } = options;
  const expires = Math.floor(Date.now() / 1000) + expiresInSeconds;
  const query = new URLSearchParams({ expires: String(expires) });
  if (downloadName !== undefined) query.set("download", downloadName);
  if (inline === true) query.set("inline", "1");
  query.set("signature", signature(secret, key, String(expires), downloadName ?? ""));
  return `/files/${key.split("/").map(encodeURIComponent).join("/")}?${query}`;
}

/** Whether `query` (of a link that `signedPath` made) opens `key` now. */
export function opensFile(secret: string, key: string, query: URLSearchParams): "yes" | "expired" | "no" {
  const expires = query.get("expires") ?? "";
  const given = Buffer.from(query.get("signature") ?? "");
  const expected = Buffer.from(signature(secret, key, expires, query.get("download") ?? ""));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return "no";
  return Number(expires) * 1000 < Date.now() ? "expired" : "yes";
}

function signature(secret: string, key: string, expires: string, downloadName: string): string {
  return createHmac("sha256", secret)
    .update(JSON.stringify([key, expires, downloadName]))
    .digest("base64url");
}
