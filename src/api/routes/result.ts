import { Hono } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { isYes } from "../http/flags.ts";
import { jobIdOf } from "../jobs/jobId.ts";
import type { JobReader } from "../jobs/jobReader.ts";
import { resultDocument } from "../jobs/jobResult.ts";

/** What came of a job. */
export function resultRoutes(deps: ApiDeps, jobs: JobReader) {
  return new Hono<ApiEnv>()
    .get("/result/:id", async (c) => {
      const document = await resultDocument(c, deps, await jobs.readEnd(jobIdOf(c), c.var.caller));
      const link = "result_url" in document ? document.result_url : undefined;
      return isYes(c.req.query("redirect")) && link !== undefined ? c.redirect(link, 302) : c.json(document);
    })
    .get("/jobs/:id/result", async (c) => {
      const reading = await jobs.readEnd(jobIdOf(c), c.var.caller);
      const { id, status, metadata: _inTheDocument, ...result } = await resultDocument(c, deps, reading);
      if (status !== "success") return c.json({ job_id: id, status, ...result });
      const { outputPath, files } = reading.view;
      return c.json({ output_path: outputPath ?? files[0]?.key, ...result });
    });
}
