import { type Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ApplicationFailure } from "@temporalio/activity";
import { fileTypeStream } from "file-type";
import { failureTypes } from "../jobs/failureTypes.ts";
import type { StoredFile } from "../jobs/job.ts";
import { BrokenMp4, wholeMp4 } from "../media/mp4.ts";
import type { ObjectStore } from "../storage/objectStore.ts";

/** A result on its way into the object store. */
export interface Incoming {
  body: Readable;
  /** What its server says of it; null when it says nothing. */
  contentLength: string | null;
  contentType: string | null;
  /** What it has to be. */
  mimeType: string;
  key: string;
}

/**
 * Stores a result, streamed, if it is whole and what it should be.
 * @throws ApplicationFailure, not retryable when the file itself is at fault
 */
export async function storeStream(store: ObjectStore, incoming: Incoming, signal: AbortSignal): Promise<StoredFile> {
  const { key, mimeType, contentLength } = incoming;
  const typed = await fileTypeStream(incoming.body);
  const complaint = complaintOf(typed.fileType?.mime, incoming.contentType ?? "", mimeType);
  if (complaint !== undefined) {
    typed.destroy();
    throw ApplicationFailure.retryable(`there came ${complaint} instead of ${mimeType}`, "WrongFile");
  }
  const whole = wholeLength(contentLength);
  const checked = mimeType === "video/mp4" ? wholeMp4() : undefined;
  try {
    const [, bytes] = await Promise.all([
      pipeline(checked === undefined ? [typed, whole] : [typed, whole, checked], { signal }),
      store.put(key, checked ?? whole, { contentType: mimeType, signal }),
    ]);
    return { key, mimeType, bytes };
  } catch (error) {
    // All of it came: then it is the file that is broken.
    if (!(error instanceof BrokenMp4) || contentLength === null) throw error;
    throw ApplicationFailure.nonRetryable(error.message, failureTypes.modelFailed);
  }
}

/**
 * What came instead of what is wanted, by its first bytes: an error page is no result, whatever it calls itself.
 * Text has no such bytes; there the server's word counts.
 */
function complaintOf(found: string | undefined, announced: string, wanted: string): string | undefined {
  if (/^(audio|video)\//.test(wanted)) return found === wanted ? undefined : (found ?? "something else");
  if (found !== undefined && /^(audio|video|image)\//.test(found)) return found;
  const isPage = announced.startsWith("text/html") && !wanted.startsWith("text/html");
  return isPage ? "text/html" : undefined;
}

/** Fails at the end when fewer bytes came than were announced: a truncated result is never stored. */
function wholeLength(announced: string | null): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(null, chunk);
    },
    flush(done) {
      const whole = announced === null || Number(announced) === bytes;
      done(whole ? null : ApplicationFailure.retryable(`the result broke off after ${bytes} of ${announced} bytes`));
    },
  });
}
