import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import { reasonOf } from "../../clients/modelCall.ts";
import { announcedLength, nodeFetch } from "../../clients/nodeFetch.ts";
import type { RemoteFile } from "../../contracts/activityTypes.ts";
import type { Lease } from "../../gpus/types.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { StoredFile } from "../../jobs/job.ts";
import { timeLimit } from "../../lib/timeLimit.ts";
import { withoutQuery } from "../../process/log.ts";
import { comfyUrlOf } from "../gpus/nodeUrls.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { BrokenResult, EndlessResult, storeStream } from "./storeStream.ts";

/** For the node's first byte; the whole copy is bounded by the job's deadline. */
const ANSWER_MS = 60_000;
/** A file that arrives broken so often is broken. */
const BROKEN_TRIES = 3;
/** How long a node may fail to hand over a file. Whether it lives at all is watched elsewhere. */
const PATIENCE_MS = 120_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** The node is in trouble, which may pass. */
class NodeTrouble extends Error {
  override name = "NodeTrouble";
}

/**
 * Copies a result from the node into the object store, streamed. What may help is tried again, for a bounded time;
 * trouble of the store is not the node's, and is thrown as it is.
 * @throws ApplicationFailure: `ResultLost` when the file cannot be had, `ModelFailed` when it is not what it should be,
 *   `NodeBroken`
 */
export async function copyFromNode(
  { config, store }: Pick<ActivityDeps, "config" | "store">,
  lease: Lease,
  file: RemoteFile,
  signal: AbortSignal,
): Promise<StoredFile> {
  const { key, url, mimeType } = file;
  const hosts = [lease.nodeUrl, comfyUrlOf(config, lease)].map((nodeUrl) => new URL(nodeUrl).host);
  if (!hosts.includes(new URL(url).host)) {
    throw ApplicationFailure.nonRetryable("the result lies on another host than the node", failureTypes.modelFailed);
  }
  const giveUpAt = performance.now() + PATIENCE_MS;
  let broken = 0;
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    try {
      const { body, headers } = await requestFile(url, config.comput3.apiKey ?? "", signal);
      const contentType = headers.get("content-type");
      return await storeStream(
        store,
        { body, contentLength: announcedLength(headers), contentType, mimeType, key },
        signal,
      );
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof EndlessResult) throw ApplicationFailure.nonRetryable(error.message, failureTypes.nodeBroken);
      if (!(error instanceof NodeTrouble || error instanceof BrokenResult)) throw error;
      if (error instanceof BrokenResult) broken += 1;
      if (broken === BROKEN_TRIES || performance.now() > giveUpAt) throw lost(error.message);
      log.warn("the result could not be fetched", { url: withoutQuery(url), error: error.message, waitMs });
    }
    await delay(waitMs, undefined, { signal });
  }
}

async function requestFile(url: string, apiKey: string, signal: AbortSignal) {
  const answered = new AbortController();
  const limit = timeLimit(ANSWER_MS);
  const giveUp = () => answered.abort();
  limit.addEventListener("abort", giveUp);
  try {
    const response = await nodeFetch(url, apiKey, { signal: AbortSignal.any([signal, answered.signal]) });
    const { ok, status, body, headers } = response;
    if (ok && body !== null) return { body: Readable.fromWeb(body), headers };
    await body?.cancel();
    throw failureOf(status);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ApplicationFailure || error instanceof NodeTrouble) throw error;
    const reason = answered.signal.aborted ? `no answer within ${ANSWER_MS / 1000} s` : reasonOf(error);
    throw new NodeTrouble(`the node could not be asked for the result: ${reason}`, { cause: error });
  } finally {
    // The body takes as long as it takes.
    limit.removeEventListener("abort", giveUp);
  }
}

/** Gradio answers 403 for a path that it does not serve. What is not there is not going to appear. */
function failureOf(status: number): Error {
  const message = `the node answered ${status} for the result`;
  if (status === 401) return ApplicationFailure.nonRetryable("the node refused the API key", failureTypes.nodeBroken);
  if (status >= 500 || status === 408 || status === 425 || status === 429 || status < 300)
    return new NodeTrouble(message);
  return lost(message);
}

function lost(message: string): ApplicationFailure {
  return ApplicationFailure.nonRetryable(message, failureTypes.resultLost);
}
