import { createReadStream, createWriteStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { ApplicationFailure, log } from "@temporalio/activity";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { Source } from "../../jobs/kinds/lipsync.ts";
import { retryAfterMs } from "../../lib/retryAfter.ts";
import { messageOf } from "../../lib/text.ts";
import { type Download, TooLarge, UnsafeUrl } from "../../net/safeFetch.ts";
import { withoutQuery } from "../../process/log.ts";
import type { ActivityDeps } from "../support/deps.ts";
import { forNow, invalid, isLack } from "./failures.ts";

const MAX_REDIRECTS = 10;
/** What a server says that may say something else the next time. */
const PASSING = new Set([408, 425, 429]);
/** A server may ask for more time than a job has. */
const MAX_RETRY_AFTER_MS = 120_000;

interface Wanted {
  jobId: string;
  tenant: string;
  field: string;
  source: Source;
  maxBytes: number;
  target: string;
  signal: AbortSignal;
}

/**
 * Brings an input here, as it is.
 * @throws ApplicationFailure with a sentence that names the field; the system's error where this machine lacks something
 */
export async function fetchOriginal(
  { config, safeFetch }: Pick<ActivityDeps, "config" | "safeFetch">,
  wanted: Wanted,
): Promise<void> {
  const { jobId, tenant, field, source, maxBytes, target, signal } = wanted;
  const { allowLocalPaths, downloadTimeoutMs: timeoutMs } = config.inputs;
  if ("path" in source) return await copyLocal(wanted, source.path, allowLocalPaths);
  log.info("downloading", { jobId, field, url: withoutQuery(source.url) });
  try {
    const download = await safeFetch.get(source.url, {
      maxBytes,
      timeoutMs,
      maxRedirects: MAX_REDIRECTS,
      tenant,
      signal,
    });
    const complaint = refusalOf(field, download);
    if (complaint !== undefined) {
      download.body.destroy();
      throw complaint;
    }
    await pipeline(download.body, createWriteStream(target), { signal });
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ApplicationFailure || isLack(error)) throw error;
    if (error instanceof UnsafeUrl || error instanceof TooLarge) throw invalid(field, error.message);
    throw forNow(field, `could not be downloaded (${reasonOf(error)})`, failureTypes.downloadFailed);
  }
}

/** What is wrong with an answer: undefined when it has the file, all of it. */
function refusalOf(field: string, { status, headers }: Download): ApplicationFailure | undefined {
  if (status === 200 || status === 203) return undefined;
  if (status === 206) {
    // Nobody asked for a part. Some servers call the whole a part.
    const [, first, last, whole] = /^bytes (\d+)-(\d+)\/(\d+)$/i.exec(headers.get("content-range")?.trim() ?? "") ?? [];
    if (first === "0" && Number(last) + 1 === Number(whole)) return undefined;
    return forNow(field, "the server sent a part of the file only", failureTypes.downloadFailed);
  }
  if (status === 204 || status === 205) return invalid(field, `the server answered ${status}, without a file`);
  const message = `the server answered ${status}`;
  if (status < 500 && !PASSING.has(status)) return invalid(field, message);
  const asked = retryAfterMs(headers.get("retry-after"), Date.now());
  return forNow(
    field,
    message,
    failureTypes.downloadFailed,
    asked === undefined ? undefined : Math.min(asked, MAX_RETRY_AFTER_MS),
  );
}

/** A file of the folder that the operator has opened; no link leads out of it. */
async function copyLocal({ field, maxBytes, target, signal }: Wanted, path: string, opened: string | undefined) {
  if (opened === undefined) throw invalid(field, "paths are not allowed on this worker");
  const root = await realpath(opened);
  const file = await realpath(join(root, path)).catch(() => undefined);
  if (file === undefined || !file.startsWith(root + sep)) throw invalid(field, "there is no such file");
  const found = await stat(file);
  if (!found.isFile()) throw invalid(field, "there is no such file");
  if (found.size > maxBytes) throw invalid(field, new TooLarge(maxBytes).message);
  await pipeline(createReadStream(file), createWriteStream(target), { signal });
}

function reasonOf(error: unknown): string {
  return messageOf(error).split("\n")[0] ?? "";
}
