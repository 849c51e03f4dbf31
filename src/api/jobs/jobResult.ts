import type { Context } from "hono";
import type { JobView, StoredFile } from "../../jobs/job.ts";
import { isFinal } from "../../jobs/states.ts";
import { type EndedJob, endedDocument, linkOptions, type ResultBody, resultOf } from "../../storage/endedJob.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { isYes } from "../http/flags.ts";
import { baseUrlOf } from "./links.ts";
import type { JobReading } from "./readJob.ts";

type Deps = Pick<ApiDeps, "store" | "config">;

/**
 * What came of a job, in the words of its webhook.
 * @throws HttpError 400 for a job that has not ended, or was cancelled or timed out, with the same words
 */
export async function resultDocument(c: Context<ApiEnv>, deps: Deps, reading: JobReading) {
  const { view, metadata } = reading;
  const { state, files, outputPath, error, id } = view;
  if (!isFinal(state)) {
    throw new HttpError(400, "job_not_completed", "Job not completed", { body: { status: state } });
  }
  const ended: EndedJob = { id, state, error, files, outputPath, metadata };
  const document = await endedDocument(deps.store, ended, (file) => linkTo(c, deps, file));
  if (state !== "cancelled" && state !== "timed_out") return document;
  throw new HttpError(400, `job_${state}`, error ?? `Job ${state}`, { body: document });
}

/** What came of a job that succeeded. */
export async function resultOfView(c: Context<ApiEnv>, deps: Deps, view: JobView): Promise<ResultBody> {
  return await resultOf(deps.store, view, (file) => linkTo(c, deps, file));
}

/** A link to a stored file that opens without a key, for seven days from now; with `?inline=1` to be shown, not saved. */
export async function linkTo(c: Context<ApiEnv>, { store, config }: Deps, file: StoredFile): Promise<string> {
  const url = await store.link(file.key, { ...linkOptions(file), inline: isYes(c.req.query("inline")) });
  return url.startsWith("/") ? `${baseUrlOf(c, config.api)}${url}` : url;
}
