import { Hono } from "hono";
import type { JobView, StoredFile } from "../../jobs/job.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";
import { jobIdOf } from "../jobId.ts";
import { baseUrlOf } from "../links.ts";
import { readJob } from "../readJob.ts";

const LINK_EXPIRES_IN_SECONDS = 7 * 24 * 3600;

/** What came of a job. */
export function resultRoutes({ client, store, config }: ApiDeps) {
  return new Hono<ApiEnv>().get("/result/:id", async (c) => {
    const id = jobIdOf(c);
    const { view } = await readJob(client, id);
    if (view.state === "failed") return c.json({ id, status: view.state, error: view.error });
    const file = fileOf(view);
    const url = await store.link(file.key, {
      expiresInSeconds: LINK_EXPIRES_IN_SECONDS,
      downloadName: file.key.slice(file.key.lastIndexOf("/") + 1),
    });
    const resultUrl = url.startsWith("/") ? `${baseUrlOf(c, config.api)}${url}` : url;
    if (c.req.query("redirect") === "1") return c.redirect(resultUrl, 302);
    return c.json({ id, status: view.state, result_url: resultUrl });
  });
}

/** @throws HttpError 400 unless the job has succeeded */
function fileOf({ id, state, error, files }: JobView): StoredFile {
  const status = { body: { status: state } };
  switch (state) {
    case "success": {
      const [file] = files;
      if (file === undefined) throw new Error(`job ${id} succeeded without a file`);
      return file;
    }
    case "queued":
    case "running":
      throw new HttpError(400, "job_not_completed", "Job not completed", status);
    case "failed":
    case "timed_out":
    case "cancelled":
      throw new HttpError(400, `job_${state}`, error ?? `Job ${state}`, status);
    default:
      return state satisfies never;
  }
}
