import type { Context } from "hono";
import { hasTextResult, type JobView, type StoredFile } from "../jobs/job.ts";
import type { ApiDeps, ApiEnv } from "./context.ts";
import { HttpError } from "./errors.ts";
import { baseUrlOf } from "./links.ts";

const LINK_EXPIRES_IN_SECONDS = 7 * 24 * 3600;

type Deps = Pick<ApiDeps, "store" | "config">;

/** What came of a job that succeeded: a text, or a file behind a link, or what a function on Modal named. */
export interface ResultBody {
  text?: string;
  result_url?: string;
  output_path?: string;
}

/** @throws HttpError 400 unless the job has succeeded; a failed job is for the caller to tell apart first */
export async function resultOf(c: Context<ApiEnv>, deps: Deps, view: JobView): Promise<ResultBody> {
  requireSuccess(view);
  const [file] = view.files;
  const path = view.outputPath === undefined ? {} : { output_path: view.outputPath };
  if (file === undefined) {
    if (view.outputPath === undefined) throw new Error(`job ${view.id} succeeded without a result`);
    return path;
  }
  if (hasTextResult(view.type)) {
    const { body } = await deps.store.get(file.key);
    return { text: Buffer.concat(await body.toArray()).toString() };
  }
  return { result_url: await linkTo(c, deps, file), ...path };
}

/** A link to a stored file that opens without a key, for seven days from now. */
export async function linkTo(c: Context<ApiEnv>, { store, config }: Deps, { key }: StoredFile): Promise<string> {
  const url = await store.link(key, { expiresInSeconds: LINK_EXPIRES_IN_SECONDS, downloadName: nameOf(key) });
  return url.startsWith("/") ? `${baseUrlOf(c, config.api)}${url}` : url;
}

export function nameOf(key: string): string {
  return key.slice(key.lastIndexOf("/") + 1);
}

function requireSuccess({ state, error }: JobView): void {
  const status = { body: { status: state } };
  switch (state) {
    case "success":
      return;
    case "queued":
    case "running":
      throw new HttpError(400, "job_not_completed", "Job not completed", status);
    case "failed":
    case "timed_out":
    case "cancelled":
      throw new HttpError(400, `job_${state}`, error ?? `Job ${state}`, status);
    default:
      state satisfies never;
  }
}
