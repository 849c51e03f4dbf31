import type { StoredFile } from "../jobs/job.ts";
import type { FinalState } from "../jobs/states.ts";
import type { LinkOptions, ObjectStore } from "./objectStore.ts";

/** What is told of a job that ended: by `GET /result` and by its webhook, in one text. */

export interface EndedJob {
  id: string;
  state: FinalState;
  error?: string | undefined;
  /** The result first. */
  files: readonly StoredFile[];
  /** Where a lip-sync function says that its result lies. */
  outputPath?: string | undefined;
  /** The caller's own. */
  metadata?: Record<string, unknown> | undefined;
}

/** What came of a job that succeeded: a text, or a file behind a link, and what a function on Modal named. */
export interface ResultBody {
  text?: string;
  result_url?: string;
  output_path?: string;
}

type LinkTo = (file: StoredFile) => Promise<string>;

const LINK_SECONDS = 7 * 24 * 3600;

/** @throws ObjectNotFound when the text of the result was removed */
export async function endedDocument(store: ObjectStore, job: EndedJob, linkTo: LinkTo) {
  const { id, state: status, metadata } = job;
  const what = status === "success" ? await resultOf(store, job, linkTo) : { error: job.error ?? `Job ${status}` };
  return { id, status, ...what, ...(metadata !== undefined && { metadata }) };
}

/** @throws ObjectNotFound when the text of the result was removed */
export async function resultOf(
  store: ObjectStore,
  { files: [file], outputPath }: Pick<EndedJob, "files" | "outputPath">,
  linkTo: LinkTo,
): Promise<ResultBody> {
  const path = outputPath === undefined ? {} : { output_path: outputPath };
  if (file === undefined) return path;
  if (!file.mimeType.startsWith("text/plain")) return { result_url: await linkTo(file), ...path };
  const { body } = await store.get(file.key);
  return { text: Buffer.concat(await body.toArray()).toString(), ...path };
}

/** Every link to a file of a job opens for as long from when it was made, and saves it under the same name. */
export function linkOptions({ key }: StoredFile): LinkOptions {
  return { expiresInSeconds: LINK_SECONDS, downloadName: nameOf(key) };
}

export function nameOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}
