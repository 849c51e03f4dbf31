import type { ObjectInfo } from "../../storage/objectStore.ts";

/** What says that a file is the one that a caller has (RFC 9110 §8.8): files are only replaced as a whole. */
export function etagOf({ bytes, lastModified }: ObjectInfo): string {
  return `"${bytes.toString(16)}-${lastModified.getTime().toString(16)}"`;
}

/** Whether the caller has the file already: `If-None-Match`, and only without it `If-Modified-Since` (RFC 9110 §13.2.2). */
export function isKnownTo(headers: Headers, info: ObjectInfo): boolean {
  const tags = headers.get("If-None-Match");
  if (tags !== null) {
    const known = tags.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
    return known.includes("*") || known.includes(etagOf(info));
  }
  const since = Date.parse(headers.get("If-Modified-Since") ?? "");
  return secondsOf(info.lastModified) <= since / 1000;
}

/** Whether a part may be joined to what the caller has: `If-Range`, which takes no weak validators. */
export function isUnchangedFor(headers: Headers, info: ObjectInfo): boolean {
  const validator = headers.get("If-Range")?.trim();
  return validator === undefined || validator === etagOf(info) || validator === info.lastModified.toUTCString();
}

/** Of dates in headers, which have no fractions. */
function secondsOf(date: Date): number {
  return Math.floor(date.getTime() / 1000);
}
