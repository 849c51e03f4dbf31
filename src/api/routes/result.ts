import { Hono } from "hono";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { jobIdOf } from "../jobId.ts";
import type { JobReader } from "../jobReader.ts";
import { resultOf } from "../jobResult.ts";

/** What came of a job. */
export function resultRoutes(deps: ApiDeps, jobs: JobReader) {
  return new Hono<ApiEnv>()
    .get("/result/:id", async (c) => {
      const id = jobIdOf(c);
      const { view } = await jobs.readEnd(id, c.var.caller);
      if (view.state === "failed") return c.json({ id, status: view.state, error: view.error });
      const result = await resultOf(c, deps, view);
      const redirects = c.req.query("redirect") === "1" && result.result_url !== undefined;
      if (redirects) return c.redirect(result.result_url ?? "", 302);
      return c.json({ id, status: view.state, ...result });
    })
    .get("/jobs/:id/result", async (c) => {
      const { view } = await jobs.readEnd(jobIdOf(c), c.var.caller);
      if (view.state === "failed") return c.json({ job_id: view.id, status: view.state, error: view.error });
      const result = await resultOf(c, deps, view);
      return c.json({ output_path: view.outputPath ?? view.files[0]?.key, ...result });
    });
}
