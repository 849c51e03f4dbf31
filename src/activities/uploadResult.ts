import { Readable } from "node:stream";
import { ApplicationFailure, cancellationSignal, log } from "@temporalio/activity";
import type { Lease } from "../gpus/types.ts";
import { failureTypes } from "../jobs/failureTypes.ts";
import type { JobSpec, StoredFile } from "../jobs/job.ts";
import type { ActivityDeps } from "./deps.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { comfyUrlOf } from "./nodeUrls.ts";
import { type Incoming, storeStream } from "./storeStream.ts";
import type { RemoteFile } from "./types.ts";

export interface UploadInput {
  job: JobSpec;
  lease: Lease;
  files: RemoteFile[];
}

/** For the node's first byte; the whole copy is bounded by the job's deadline. */
const NODE_ANSWER_MS = 30_000;

/** Copies results from the node into the object store, streamed; a copy that fails is made again, not the render. */
export function createUploadResult({ config, store }: Pick<ActivityDeps, "config" | "store">) {
  async function copy({ key, url, mimeType }: RemoteFile, lease: Lease, signal: AbortSignal): Promise<StoredFile> {
    const hosts = [lease.nodeUrl, comfyUrlOf(config, lease)].map((nodeUrl) => new URL(nodeUrl).host);
    if (!hosts.includes(new URL(url).host)) {
      throw ApplicationFailure.nonRetryable("the result lies on another host than the node", failureTypes.modelFailed);
    }
    const response = await requestFile(url, config.comput3.apiKey ?? "", signal);
    const { headers } = response;
    const incoming: Incoming = {
      body: bodyOf(response),
      contentLength: headers.get("content-length"),
      contentType: headers.get("content-type"),
      mimeType,
      key,
    };
    return await storeStream(store, incoming, signal);
  }

  return {
    async uploadResult({ job, lease, files }: UploadInput): Promise<{ files: StoredFile[] }> {
      const signal = cancellationSignal();
      return await withHeartbeats(async () => {
        const stored: StoredFile[] = [];
        for (const file of files) {
          stored.push(await copy(file, lease, signal));
          log.info("result stored", { jobId: job.id, key: file.key, bytes: stored.at(-1)?.bytes });
        }
        return { files: stored };
      });
    },
  };
}

/** A file that the node does not have is not going to appear; other answers may be trouble that passes. */
async function requestFile(url: string, apiKey: string, signal: AbortSignal): Promise<Response> {
  const answered = new AbortController();
  const timer = setTimeout(() => answered.abort(), NODE_ANSWER_MS);
  try {
    const response = await fetch(url, {
      headers: { "X-C3-API-KEY": apiKey },
      redirect: "error",
      signal: AbortSignal.any([signal, answered.signal]),
    });
    if (response.ok) return response;
    await response.body?.cancel();
    const message = `the node answered ${response.status} for the result`;
    throw response.status === 404
      ? ApplicationFailure.nonRetryable(message, failureTypes.modelFailed)
      : ApplicationFailure.retryable(message, "ResultUnreachable");
  } finally {
    clearTimeout(timer);
  }
}

function bodyOf(response: Response): Readable {
  if (response.body === null) throw ApplicationFailure.retryable("the node sent no body", "ResultUnreachable");
  return Readable.fromWeb(response.body);
}
