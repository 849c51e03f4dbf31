import { isUtf8 } from "node:buffer";
import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { fileTypeFromFile } from "file-type";
import { TooLarge, UnsafeUrl } from "../clients/safeFetch.ts";
import { failureTypes } from "../jobs/failureTypes.ts";
import type { JobSpec } from "../jobs/job.ts";
import { withoutQuery } from "../log.ts";
import { keys } from "../storage/keys.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { withTempFolder } from "./tempFolder.ts";
import type { PreparedInput } from "./types.ts";

const MAX_REDIRECTS = 3;
const SNIFFED_BYTES = 512;

/** Downloads, checks and prepares what a job was given by URL, before a GPU is paid for. */
export function createDownloadInputs({ config, store, safeFetch, media }: ActivityDeps) {
  const { maxAudioBytes, maxAudioSeconds, downloadTimeoutMs } = config.inputs;

  async function download(field: string, url: string, file: string, signal: AbortSignal): Promise<void> {
    try {
      const { status, body } = await safeFetch.get(url, {
        maxBytes: maxAudioBytes,
        timeoutMs: downloadTimeoutMs,
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
      await pipeline(body, createWriteStream(file), { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof ApplicationFailure) throw error;
      if (error instanceof UnsafeUrl || error instanceof TooLarge) throw invalid(`${field}: ${error.message}`);
      throw ApplicationFailure.retryable(`${field}: could not be downloaded (${reasonOf(error)})`, "DownloadFailed");
    }
  }

  /** @throws a sentence that says what the file is instead of sound */
  async function checkSound(field: string, file: string, signal: AbortSignal): Promise<number | undefined> {
    const probe = await media.probe(file, signal);
    if (probe === undefined) throw invalid(`${field}: this is ${await kindOf(file)}, not audio`);
    if (!probe.hasSound) throw invalid(`${field}: there is no sound in it`);
    const { durationSeconds } = probe;
    if (durationSeconds !== undefined && durationSeconds > maxAudioSeconds) {
      throw invalid(`${field}: ${Math.round(durationSeconds)} s of sound are more than ${maxAudioSeconds} s`);
    }
    return durationSeconds;
  }

  async function referenceVoice(
    jobId: string,
    url: string,
    folder: string,
    signal: AbortSignal,
  ): Promise<PreparedInput> {
    const field = "reference_audio_url";
    const original = join(folder, `${jobId}_input`);
    const prepared = join(folder, `${jobId}_input.mp3`);
    log.info("downloading", { jobId, field, url: withoutQuery(url) });
    await download(field, url, original, signal);
    const durationSeconds = await checkSound(field, original, signal);
    try {
      await media.toMonoMp3(original, prepared, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw invalid(`${field}: the sound could not be decoded (${reasonOf(error)})`);
    }
    const key = keys.input(jobId, "reference_audio.mp3");
    const bytes = await store.put(key, createReadStream(prepared), { contentType: "audio/mpeg", signal });
    const duration = durationSeconds === undefined ? {} : { durationSeconds };
    return { name: "reference_audio", key, mimeType: "audio/mpeg", bytes, ...duration };
  }

  return {
    /** @throws ApplicationFailure `InvalidInput` with a sentence that names the field */
    async downloadInputs({ job }: { job: JobSpec }): Promise<{ inputs: PreparedInput[] }> {
      const signal = cancellationSignal();
      const { reference } = job.input;
      if (reference === undefined) return { inputs: [] };
      return await withHeartbeats(() =>
        withTempFolder(config, `${job.id}-inputs-${activityInfo().attempt}`, async (folder) => ({
          inputs: [await referenceVoice(job.id, reference.audioUrl, folder, signal)],
        })),
      );
    },
  };
}

function invalid(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, failureTypes.invalidInput);
}

/** What a file is instead of sound, in a person's words. */
async function kindOf(file: string): Promise<string> {
  const type = await fileTypeFromFile(file);
  if (type !== undefined) return type.mime;
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read({ length: SNIFFED_BYTES });
    const start = buffer.subarray(0, bytesRead);
    if (bytesRead === 0) return "an empty file";
    if (/^\s*<(!doctype html|html|head|body|title)/i.test(start.toString())) return "text/html";
    return isUtf8(start) ? "text" : "data of an unknown kind";
  } finally {
    await handle.close();
  }
}

function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}
