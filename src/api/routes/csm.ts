import { Hono } from "hono";
import { csmSchema } from "../../jobs/csm.ts";
import { readBody } from "../body.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { acceptJob, submitJob } from "../submitJob.ts";

/** Text to speech. */
export function csmRoutes(deps: ApiDeps) {
  const { jobs } = deps.config;
  const schema = csmSchema({
    maxTimeSeconds: jobs.defaultMaxTimeSeconds,
    completeInSeconds: jobs.defaultCompleteInSeconds,
    maxTextChars: jobs.maxTextChars,
  });
  return new Hono<ApiEnv>().post("/csm", async (c) => {
    const body = await readBody(c, schema, deps.config.api.maxBodyBytes);
    const job = { ...acceptJob(body, c.var.tenant, deps.config), type: "csm" as const, input: body.input };
    await submitJob(deps, job);
    return c.json({ id: job.id, status: "queued" }, 200, { Location: `/jobs/${job.id}` });
  });
}
