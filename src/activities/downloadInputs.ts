import { createReadStream, createWriteStream } from "node:fs";
import { open, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { fileTypeFromFile } from "file-type";
import { TooLarge, UnsafeUrl } from "../clients/safeFetch.ts";
import { failureTypes } from "../jobs/failureTypes.ts";
import { type InputKind, inputsOf, type WantedInput } from "../jobs/inputs.ts";
import type { JobSpec } from "../jobs/job.ts";
import { withoutQuery } from "../log.ts";
import { ImageError, prepareImage } from "../media/images.ts";
import { keys } from "../storage/keys.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { whileStoreIsAway } from "./patience.ts";
import { withTempFolder } from "./tempFolder.ts";
import type { PreparedInput } from "./types.ts";

const MAX_REDIRECTS = 3;
const SNIFFED_BYTES = 512;
const MAX_PIXELS = 50_000_000;
/** Larger ones gain nothing with the models. */
const PICTURE_BOX = { width: 2048, height: 2048 };
/** What the portrait graph renders at most. */
const PORTRAIT_BOX = { width: 1280, height: 720 };
const imageTypes = new Set(["image/jpeg", "image/png", "image/webp", "image/gif", "image/avif", "image/heic"]);

/** A file on its way from where it came from to the object store. */
interface Staged {
  input: WantedInput;
  jobId: string;
  /** As it came. */
  original: string;
  folder: string;
  signal: AbortSignal;
}

/** What preparing made of an input. */
type Prepared = Pick<PreparedInput, "mimeType" | "durationSeconds"> & { path: string; extension: string };

/** Downloads, checks and prepares what a job was given by reference, before a GPU is paid for. */
export function createDownloadInputs({ config, store, safeFetch, media }: ActivityDeps) {
  const { inputs: limits } = config;
  const maxBytes: Record<InputKind, number> = {
    voice: limits.maxAudioBytes,
    sound: limits.maxAudioBytes,
    portraitSound: limits.maxAudioBytes,
    picture: limits.maxImageBytes,
    portrait: limits.maxImageBytes,
    video: limits.maxVideoBytes,
  };

  async function fetchOriginal({ input, jobId, original, signal }: Staged): Promise<void> {
    const { field, source, kind } = input;
    if ("path" in source) return await copyLocal(field, source.path, maxBytes[kind], original, signal);
    log.info("downloading", { jobId, field, url: withoutQuery(source.url) });
    try {
      const { status, body } = await safeFetch.get(source.url, {
        maxBytes: maxBytes[kind],
        timeoutMs: limits.downloadTimeoutMs,
        maxRedirects: MAX_REDIRECTS,
        signal,
      });
      if (status !== 200) {
        body.destroy();
        const message = `${field}: the server answered ${status}`;
        throw status >= 500 || status === 429
          ? ApplicationFailure.retryable(message, "DownloadFailed")
          : invalid(message);
      }
      await pipeline(body, createWriteStream(original), { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ApplicationFailure) throw error;
      if (error instanceof UnsafeUrl || error instanceof TooLarge) throw invalid(`${field}: ${error.message}`);
      throw ApplicationFailure.retryable(`${field}: could not be downloaded (${reasonOf(error)})`, "DownloadFailed");
    }
  }

  /** A file of the folder that the operator has opened; no link leads out of it. */
  async function copyLocal(field: string, path: string, limit: number, target: string, signal: AbortSignal) {
    const { allowLocalPaths } = limits;
    if (allowLocalPaths === undefined) throw invalid(`${field}: paths are not allowed on this worker`);
    const root = await realpath(allowLocalPaths);
    const file = await realpath(join(root, path)).catch(() => undefined);
    if (file === undefined || !file.startsWith(root + sep)) throw invalid(`${field}: there is no such file`);
    const found = await stat(file);
    if (!found.isFile()) throw invalid(`${field}: there is no such file`);
    if (found.size > limit) throw invalid(`${field}: ${new TooLarge(limit).message}`);
    await pipeline(createReadStream(file), createWriteStream(target), { signal });
  }

  /** @throws a sentence that says what the file is instead of sound */
  async function prepareSound(staged: Staged): Promise<Prepared> {
    const { input, original, signal, folder, jobId } = staged;
    const { field, kind } = input;
    const probe = await media.probe(original, signal);
    if (probe === undefined) throw invalid(`${field}: ${await complaintOf(original, "audio")}`);
    if (!probe.hasSound) throw invalid(`${field}: there is no sound in it`);
    const maxSeconds = kind === "portraitSound" ? limits.maxPortraitSeconds : limits.maxAudioSeconds;
    const checkLength = (seconds: number | undefined) => {
      if (seconds === undefined || seconds <= maxSeconds) return;
      throw invalid(`${field}: it is longer than ${maxSeconds} s`);
    };
    checkLength(probe.durationSeconds);
    const path = join(folder, `${jobId}_${input.name}.mp3`);
    try {
      await media.toMp3(original, path, { mono: kind === "voice", maxSeconds: maxSeconds + 1, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw invalid(`${field}: the sound could not be decoded (${lastLineOf(error)})`);
    }
    // What a header says of the length may be missing or wrong.
    const made = await media.probe(path, signal);
    if (made?.durationSeconds === undefined) throw invalid(`${field}: there is no sound in it`);
    checkLength(made.durationSeconds);
    return { path, extension: "mp3", mimeType: "audio/mpeg", durationSeconds: made.durationSeconds };
  }

  async function preparePicture({ input, original, folder, jobId }: Staged): Promise<Prepared> {
    const { field, kind } = input;
    const type = await fileTypeFromFile(original);
    if (type === undefined || !imageTypes.has(type.mime)) {
      throw invalid(`${field}: this is ${await kindOf(original)}, not an image that can be read`);
    }
    const portrait = kind === "portrait";
    const path = join(folder, `${jobId}_${portrait ? "portrait" : "image"}`);
    try {
      const box = portrait ? PORTRAIT_BOX : PICTURE_BOX;
      const { mimeType } = await prepareImage(original, path, { maxPixels: MAX_PIXELS, box, forVideo: portrait });
      return { path, extension: mimeType === "image/jpeg" ? "jpg" : "png", mimeType };
    } catch (error) {
      throw error instanceof ImageError ? invalid(`${field}: this picture ${error.message}`) : error;
    }
  }

  async function checkVideo({ input: { field }, original, signal }: Staged): Promise<Prepared> {
    const probe = await media.probe(original, signal);
    if (probe === undefined) throw invalid(`${field}: ${await complaintOf(original, "a video")}`);
    if (!probe.hasVideo) throw invalid(`${field}: there are no moving pictures in it`);
    const type = await fileTypeFromFile(original);
    const { durationSeconds } = probe;
    if (durationSeconds !== undefined && durationSeconds > limits.maxAudioSeconds) {
      throw invalid(`${field}: it is longer than ${limits.maxAudioSeconds} s`);
    }
    return { path: original, extension: type?.ext ?? "video", mimeType: type?.mime ?? "application/octet-stream" };
  }

  const prepare: Record<InputKind, (staged: Staged) => Promise<Prepared>> = {
    voice: prepareSound,
    sound: prepareSound,
    portraitSound: prepareSound,
    picture: preparePicture,
    portrait: preparePicture,
    video: checkVideo,
  };

  async function stage(staged: Staged): Promise<PreparedInput> {
    const { input, jobId, signal } = staged;
    const { name } = input;
    await fetchOriginal(staged);
    const { path, extension, mimeType, ...about } = await prepare[input.kind](staged);
    const key = keys.input(jobId, `${name}.${extension}`);
    const put = () => store.put(key, createReadStream(path), { contentType: mimeType, signal });
    const bytes = await whileStoreIsAway(put, signal);
    return { name, key, mimeType, bytes, ...about };
  }

  return {
    /** @throws ApplicationFailure `InvalidInput` with a sentence that names the field */
    async downloadInputs({ job }: { job: JobSpec }): Promise<{ inputs: PreparedInput[] }> {
      const signal = cancellationSignal();
      return await withHeartbeats(() =>
        withTempFolder(config, `${job.id}-inputs-${activityInfo().attempt}`, async (folder) => {
          const inputs: PreparedInput[] = [];
          for (const input of inputsOf(job)) {
            const original = join(folder, `${job.id}_${input.name}_input`);
            inputs.push(await stage({ input, jobId: job.id, original, folder, signal }));
          }
          return { inputs };
        }),
      );
    },
  };
}

function invalid(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, failureTypes.invalidInput);
}

/** About a file that is no sound or video that can be read. */
async function complaintOf(file: string, wanted: string): Promise<string> {
  const kind = await kindOf(file);
  return /^(audio|video)\//.test(kind) ? `this ${kind} file cannot be read` : `this is ${kind}, not ${wanted}`;
}

/** What a file is instead of what it should be, in a person's words. */
async function kindOf(file: string): Promise<string> {
  const type = await fileTypeFromFile(file);
  if (type !== undefined) return type.mime;
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read({ length: SNIFFED_BYTES });
    const start = buffer.subarray(0, bytesRead);
    if (bytesRead === 0) return "an empty file";
    if (/^\s*<(!doctype html|html|head|body|title)/i.test(start.toString())) return "text/html";
    return isText(start) ? "text" : "data of an unknown kind";
  } finally {
    await handle.close();
  }
}

/** @param start may end in the middle of a letter */
function isText(start: Uint8Array): boolean {
  try {
    return !new TextDecoder("utf-8", { fatal: true }).decode(start, { stream: true }).includes("\0");
  } catch {
    return false;
  }
}

function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}

/** Programs complain on their standard error, last of all about what stopped them; paths are ours and say nothing. */
function lastLineOf(error: unknown): string {
  const complaint = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
  const line = complaint.split("\n").at(-1) ?? "";
  return line === "" ? "ffmpeg gave no reason" : line.replaceAll(/\S*\/\S*/g, "the file");
}
