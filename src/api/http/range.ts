import type { ObjectInfo } from "../../storage/objectStore.ts";
import { HttpError } from "./errors.ts";
import { isUnchangedFor } from "./validators.ts";

/** Bytes of a file, both ends included. */
export interface ByteRange {
  start: number;
  end: number;
}

/**
 * The part of a file that a request asks for (RFC 9110 §14); undefined for all of it, which is also the
 * allowed answer to several ranges at once, and to a range of a file that has changed since.
 * @throws HttpError 416 for a range outside of the file
 */
export function rangeOf(headers: Headers, info: ObjectInfo): ByteRange | undefined {
  const { bytes } = info;
  const asked = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(headers.get("Range") ?? "");
  const [, first = "", last = ""] = asked ?? [];
  if (first === "" && last === "") return undefined;
  if (!isUnchangedFor(headers, info)) return undefined;
  const start = first === "" ? Math.max(0, bytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? bytes - 1 : Math.min(Number(last), bytes - 1);
  if (first !== "" && last !== "" && Number(last) < Number(first)) return undefined;
  if (start > end) {
    const headers = { "Content-Range": `bytes */${bytes}` };
    throw new HttpError(416, "range_not_satisfiable", "The file has no such range", { headers });
  }
  return { start, end };
}
