import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ApplicationFailure } from "@temporalio/activity";
import { fileTypeStream } from "file-type";
import { reasonOf } from "../../clients/modelCall.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { StoredFile } from "../../jobs/job.ts";
import { BrokenMp4, wholeMp4 } from "../../media/mp4.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";

const MIB = 1024 ** 2;
const GIB = 1024 * MIB;

/** A result on its way into the object store. */
export interface Incoming {
  body: Readable;
  /** Bytes, if the server says so; null also when the body was compressed on its way. */
  contentLength: string | null;
  /** What the server says of it; null when it says nothing. */
  contentType: string | null;
  /** What it has to be. */
  mimeType: string;
  key: string;
}

/**
 * More than anything that can be asked for comes to: five minutes of a talking portrait, hours of speech, the words of hours
 * with the time of each. Whoever sends more does not come to an end.
 */
const maxBytes = { video: 8 * GIB, audio: 2 * GIB, text: 64 * MIB };

/** What came has no end. */
export class EndlessResult extends Error {
  override name = "EndlessResult";
  constructor(most: number) {
    super(`the result is larger than ${most / MIB} MiB`);
  }
}

/** What came is not whole, or is an error page: another try, or another run, may bring it. */
export class BrokenResult extends Error {
  override name = "BrokenResult";
}

/**
 * Stores a result, streamed, if it is whole and what it should be.
 * @throws BrokenResult; EndlessResult; ApplicationFailure, not retryable, when it is a file of another kind; what the store throws
 */
export async function storeStream(store: ObjectStore, incoming: Incoming, signal: AbortSignal): Promise<StoredFile> {
  const { key, mimeType, contentLength } = incoming;
  const most = maxBytesOf(mimeType);
  if (Number(contentLength) > most) {
    incoming.body.destroy();
    throw new EndlessResult(most);
  }
  const typed = await fileTypeStream(Readable.from(marked(incoming.body)));
  const complaint = complaintOf(typed.fileType?.mime, incoming.contentType ?? "", mimeType);
  if (complaint !== undefined) {
    typed.destroy();
    throw complaint;
  }
  const whole = wholeLength(contentLength, most);
  const checked = mimeType === "video/mp4" ? wholeMp4() : undefined;
  const [piped, put] = await Promise.allSettled([
    pipeline(checked === undefined ? [typed, whole] : [typed, whole, checked], { signal }),
    store.put(key, checked ?? whole, { contentType: mimeType, signal }),
  ]);
  if (piped.status === "fulfilled" && put.status === "fulfilled") return { key, mimeType, bytes: put.value };
  signal.throwIfAborted();
  // Each of the two fails when the other does; only what is marked is the sender's fault.
  const reason: unknown = piped.status === "rejected" ? piped.reason : undefined;
  if (reason instanceof BrokenMp4) throw new BrokenResult(reason.message, { cause: reason });
  if (reason instanceof BrokenResult || reason instanceof EndlessResult) throw reason;
  throw put.status === "rejected" ? put.reason : reason;
}

/** The body, whose own failures can be told from those of the store that it goes to. */
async function* marked(body: Readable): AsyncGenerator<Buffer> {
  try {
    yield* body;
  } catch (error) {
    throw new BrokenResult(`the result broke off: ${reasonOf(error)}`, { cause: error });
  }
}

/**
 * What is wrong with what came, by its first bytes: an error page is no result, whatever it calls itself, and may not
 * come again; a file of another kind is what the model makes. Text has no such bytes; there the server's word counts.
 */
function complaintOf(found: string | undefined, announced: string, wanted: string): Error | undefined {
  const isMedia = (type = "") => /^(audio|video|image)\//.test(type);
  const otherKind = (came: string) =>
    ApplicationFailure.nonRetryable(`there came ${came} instead of ${wanted}`, failureTypes.modelFailed);
  if (found === wanted) return undefined;
  if (isMedia(found)) return otherKind(found ?? "");
  if (isMedia(wanted)) return new BrokenResult(`there came ${found ?? "something else"} instead of ${wanted}`);
  const isPage = announced.startsWith("text/html") && !wanted.startsWith("text/html");
  return isPage ? new BrokenResult(`there came text/html instead of ${wanted}`) : undefined;
}

function maxBytesOf(mimeType: string): number {
  const [kind] = mimeType.split("/");
  return kind === "video" || kind === "audio" ? maxBytes[kind] : maxBytes.text;
}

/** Fails at the end when fewer bytes came than were announced: a truncated result is never stored. Nor is an endless one. */
function wholeLength(announced: string | null, most: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > most) done(new EndlessResult(most));
      else done(null, chunk);
    },
    flush(done) {
      const whole = announced === null || Number(announced) === bytes;
      done(whole ? null : new BrokenResult(`the result broke off after ${bytes} of ${announced} bytes`));
    },
  });
}
