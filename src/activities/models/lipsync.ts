import { Readable } from "node:stream";
import { ApplicationFailure, activityInfo, cancellationSignal, log } from "@temporalio/activity";
import { ModelFailure } from "../../clients/modelCall.ts";
import { announcedLength } from "../../clients/nodeFetch.ts";
import type { PreparedInput, RunProgress } from "../../contracts/activityTypes.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { JobSpec, StoredFile } from "../../jobs/job.ts";
import { orAborted } from "../../lib/timeLimit.ts";
import { BrokenMp4 } from "../../media/mp4.ts";
import { TooLarge, UnsafeUrl } from "../../net/safeFetch.ts";
import { keys } from "../../storage/keys.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { withHeartbeats } from "../support/heartbeats.ts";
import { keepResults } from "./keepResults.ts";
import { type LipsyncAnswer, lipsyncArguments, readAnswer, sentenceOf } from "./lipsyncContract.ts";
import { BrokenResult, EndlessResult, type Incoming, storeStream } from "./storeStream.ts";

/** What became of a lip-sync call. */
export interface LipsyncResult {
  /** What the function named, if it named something. */
  outputPath?: string;
  /** The video, if it could be had. */
  file?: StoredFile;
}

const POLL_MS = 2000;
const MAX_REDIRECTS = 3;
/** Statuses below 500 that may be others the next time. */
const PASSING = new Set([408, 425, 429]);
/** A video that arrives broken so often is broken. */
const BROKEN_TRIES = 3;

type Video = Extract<LipsyncAnswer, { kind: "video" }>;

/** Lip-sync by a function on Modal, which scales by itself: no GPU of ours is needed. */
export function createLipsync({ config, store, safeFetch, modal }: ActivityDeps) {
  function configured() {
    if (modal !== undefined) return modal;
    const message = "lip-sync is not configured on this worker (MODAL_TOKEN_ID, MODAL_TOKEN_SECRET)";
    throw ApplicationFailure.nonRetryable(message, failureTypes.modelFailed);
  }

  async function told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ModelFailure)) throw error;
      throw error.kind === "transport"
        ? ApplicationFailure.retryable(error.message, failureTypes.modelUnreachable)
        : ApplicationFailure.nonRetryable(sentenceOf(error.message), failureTypes.modelFailed);
    }
  }

  /** A call of Modal's library cannot be told that nobody waits for it. */
  async function untilDone(callId: string, report: (progress: RunProgress) => void, signal: AbortSignal) {
    for (;;) {
      const polled = await orAborted(
        told(() => configured().poll(callId, POLL_MS)),
        signal,
      );
      if (polled.done) return polled.value;
      report({ progress: null, detail: "rendering on Modal" });
    }
  }

  async function storeVideo(job: JobSpec, { bytes, url }: Video, signal: AbortSignal) {
    const target = { key: keys.result(job.id, "mp4"), mimeType: "video/mp4", contentType: null };
    if (bytes !== undefined) {
      const body = Readable.from([Buffer.from(bytes)]);
      return await storeWhole({ ...target, body, contentLength: String(bytes.length) }, signal);
    }
    if (url === undefined) return undefined;
    const { maxVideoBytes: maxBytes, downloadTimeoutMs: timeoutMs } = config.inputs;
    try {
      const limits = { maxBytes, timeoutMs, maxRedirects: MAX_REDIRECTS, tenant: job.tenant, signal };
      const { status, headers, body } = await safeFetch.get(url, limits);
      if (status !== 200) {
        body.destroy();
        const message = `the server of the result answered ${status}`;
        throw status >= 500 || PASSING.has(status)
          ? ApplicationFailure.retryable(message, failureTypes.resultUnreachable)
          : ApplicationFailure.nonRetryable(message, failureTypes.modelFailed);
      }
      return await storeWhole({ ...target, body, contentLength: announcedLength(headers) }, signal);
    } catch (error) {
      if (!(error instanceof UnsafeUrl || error instanceof TooLarge)) throw error;
      throw ApplicationFailure.nonRetryable(`the result on Modal: ${error.message}`, failureTypes.modelFailed);
    }
  }

  /** Half a video of which all came will not be whole the next time; what broke off on its way may be. */
  async function storeWhole(incoming: Incoming, signal: AbortSignal) {
    try {
      return await storeStream(store, incoming, signal);
    } catch (error) {
      if (error instanceof EndlessResult)
        throw ApplicationFailure.nonRetryable(`the result on Modal: ${error.message}`, failureTypes.modelFailed);
      if (!(error instanceof BrokenResult)) throw error;
      const final = error.cause instanceof BrokenMp4 && incoming.contentLength !== null;
      throw final || activityInfo().attempt >= BROKEN_TRIES
        ? ApplicationFailure.nonRetryable(`the result on Modal: ${error.message}`, failureTypes.modelFailed)
        : ApplicationFailure.retryable(error.message, failureTypes.resultBroken);
    }
  }

  return {
    /**
     * Calls the function. Its inputs are handed over as links that expire with the job.
     * @returns the id of the call
     */
    async startLipsync({ job, inputs }: { job: JobSpec; inputs: PreparedInput[] }): Promise<{ callId: string }> {
      if (job.type !== "lipsync") throw new Error(`a ${job.type} job has no lips`);
      const expiresInSeconds = Math.max(60, Math.ceil((job.completeBy - Date.now()) / 1000));
      const links = await Promise.all(
        inputs.map(async ({ name, key }) => [`${name}_url`, await store.link(key, { expiresInSeconds })] as const),
      );
      const call = { jobId: job.id, version: job.input.version, links: Object.fromEntries(links) };
      const { contract } = configured();
      const callId = await told(() => configured().spawn(lipsyncArguments(contract, call)));
      log.info("called Modal", { jobId: job.id, callId });
      return { callId };
    },

    /** Waits for a call and stores its video. A further attempt goes on with the same call. */
    async collectLipsync({ job, callId }: { job: JobSpec; callId: string }): Promise<LipsyncResult> {
      const signal = cancellationSignal();
      return await withHeartbeats<LipsyncResult, RunProgress & { callId: string }>(async (report) => {
        const value = await untilDone(callId, (progress) => report({ ...progress, callId }), signal);
        const answer = readAnswer(value);
        if (answer.kind === "failed") {
          throw ApplicationFailure.nonRetryable(
            `the function on Modal failed: ${answer.reason}`,
            failureTypes.modelFailed,
          );
        }
        if (answer.kind === "unknown") {
          const message = "the function on Modal answered without output_path, output_url or output";
          throw ApplicationFailure.nonRetryable(message, failureTypes.modelFailed);
        }
        const file = await storeVideo(job, answer, signal);
        if (file !== undefined) await keepResults({ config, store }, job.id, [file], signal);
        const { outputPath } = answer;
        return { ...(outputPath !== undefined && { outputPath }), ...(file && { file }) };
      });
    },

    /** Ends a call that nobody waits for any more. */
    cancelLipsync: ({ callId }: { callId: string }) => told(() => configured().cancel(callId)),
  };
}
