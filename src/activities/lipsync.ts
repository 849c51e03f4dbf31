import { Readable } from "node:stream";
import { ApplicationFailure, cancellationSignal, log } from "@temporalio/activity";
import { z } from "zod";
import { ModelFailure } from "../clients/modelCall.ts";
import { TooLarge, UnsafeUrl } from "../clients/safeFetch.ts";
import { failureTypes } from "../jobs/failureTypes.ts";
import type { JobSpec, StoredFile } from "../jobs/job.ts";
import { keys } from "../storage/keys.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { storeStream } from "./storeStream.ts";
import type { PreparedInput, RunProgress } from "./types.ts";

/** What became of a lip-sync call. */
export interface LipsyncResult {
  /** What the function named, if it named something. */
  outputPath?: string;
  /** The video, if it could be had. */
  file?: StoredFile;
}

const POLL_MS = 2000;
const MAX_REDIRECTS = 3;

/** What the function answers; the contract is docs/modal.md. */
const outputSchema = z
  .object({
    output_path: z.string().min(1).optional(),
    output_url: z.url({ protocol: /^https?$/ }).optional(),
    output: z.instanceof(Uint8Array).optional(),
  })
  .refine((value) => Object.values(value).some((part) => part !== undefined));

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
        ? ApplicationFailure.retryable(error.message, "ModelUnreachable")
        : ApplicationFailure.nonRetryable(error.message, failureTypes.modelFailed);
    }
  }

  async function untilDone(callId: string, report: (progress: RunProgress) => void, signal: AbortSignal) {
    const givenUp = aborted(signal);
    for (;;) {
      const polled = await Promise.race([told(() => configured().poll(callId, POLL_MS)), givenUp]);
      if (polled.done) return polled.value;
      report({ progress: null, detail: "rendering on Modal" });
    }
  }

  async function storeVideo(job: JobSpec, output: z.infer<typeof outputSchema>, signal: AbortSignal) {
    const target = { key: keys.result(job.id, "mp4"), mimeType: "video/mp4" };
    if (output.output !== undefined) {
      const body = Readable.from([Buffer.from(output.output)]);
      const contentLength = String(output.output.length);
      return await storeStream(store, { ...target, body, contentLength, contentType: null }, signal);
    }
    if (output.output_url === undefined) return undefined;
    const { maxVideoBytes: maxBytes, downloadTimeoutMs: timeoutMs } = config.inputs;
    try {
      const limits = { maxBytes, timeoutMs, maxRedirects: MAX_REDIRECTS, signal };
      const { status, headers, body } = await safeFetch.get(output.output_url, limits);
      if (status !== 200) {
        body.destroy();
        const message = `the server of the result answered ${status}`;
        throw status >= 500 || status === 429
          ? ApplicationFailure.retryable(message, "ResultUnreachable")
          : ApplicationFailure.nonRetryable(message, failureTypes.modelFailed);
      }
      const contentLength = headers.get("content-length");
      return await storeStream(store, { ...target, body, contentLength, contentType: null }, signal);
    } catch (error) {
      if (!(error instanceof UnsafeUrl || error instanceof TooLarge)) throw error;
      throw ApplicationFailure.nonRetryable(`the result on Modal: ${error.message}`, failureTypes.modelFailed);
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
      const parameters = { job_id: job.id, version: job.input.version, ...Object.fromEntries(links) };
      const callId = await told(() => configured().spawn(parameters));
      log.info("called Modal", { jobId: job.id, callId });
      return { callId };
    },

    /** Waits for a call and stores its video. A further attempt goes on with the same call. */
    async collectLipsync({ job, callId }: { job: JobSpec; callId: string }): Promise<LipsyncResult> {
      const signal = cancellationSignal();
      return await withHeartbeats<LipsyncResult, RunProgress & { callId: string }>(async (report) => {
        const value = await untilDone(callId, (progress) => report({ ...progress, callId }), signal);
        const output = outputSchema.safeParse(value);
        if (!output.success) {
          const message = "the function on Modal answered without output_path, output_url or output";
          throw ApplicationFailure.nonRetryable(message, failureTypes.modelFailed);
        }
        const file = await storeVideo(job, output.data, signal);
        const outputPath = output.data.output_path;
        return { ...(outputPath !== undefined && { outputPath }), ...(file && { file }) };
      });
    },

    /** Ends a call that nobody waits for any more. */
    cancelLipsync: ({ callId }: { callId: string }) => told(() => configured().cancel(callId)),
  };
}

/** Rejects when `signal` says so: a call of Modal's library cannot be told. */
function aborted(signal: AbortSignal): Promise<never> {
  const promise = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  // Whoever races against it hears of it; nobody may.
  promise.catch(() => {});
  return promise;
}
