import { type Context, Hono } from "hono";
import { z } from "zod";
import { bodySchema } from "../../jobs/body.ts";
import { type EndRequest, isFinal, requestableStates } from "../../jobs/states.ts";
import { oneLine } from "../../lib/text.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { outlookOf, type ReadPool, waitingFields } from "../gpus/poolStatus.ts";
import { readBody, readQuery } from "../http/body.ts";
import { HttpError } from "../http/errors.ts";
import { endJob } from "../jobs/endJob.ts";
import { jobDocument, jobSummary } from "../jobs/jobDocument.ts";
import { jobIdOf } from "../jobs/jobId.ts";
import type { JobReader } from "../jobs/jobReader.ts";
import { listJobs, listSchema } from "../jobs/listJobs.ts";

const MAX_ERROR_CHARS = 1000;

/** The body of `POST /job/{id}`. */
export const markSchema = bodySchema(
  {
    status: z.enum(requestableStates),
    error: z.string().max(MAX_ERROR_CHARS).optional(),
    remove_data: z.boolean().default(false),
  },
  (object) => object,
);

/** How a job is, and ending it. */
export function jobRoutes(deps: ApiDeps, jobs: JobReader, readPool: ReadPool) {
  const { client, config } = deps;
  return new Hono<ApiEnv>()
    .get("/status/:id", async (c) => {
      const id = jobIdOf(c);
      const { view, progress, waitsIn } = await jobs.read(id, c.var.caller);
      const { state: status, stage, error } = view;
      if (isFinal(status)) return c.json({ id, status, ...(error !== undefined && { error }) });
      const outlook = waitsIn === undefined ? undefined : await outlookOf(readPool, waitsIn, id);
      return c.json({
        id,
        status,
        ...(stage !== undefined && { stage }),
        progress,
        ...(outlook && waitingFields(outlook, c.var.caller)),
      });
    })
    .get("/jobs/:id", async (c) => {
      const reading = await jobs.read(jobIdOf(c), c.var.caller);
      const { view, waitsIn } = reading;
      const outlook = waitsIn === undefined ? undefined : await outlookOf(readPool, waitsIn, view.id);
      return c.json({ ...(await jobDocument(c, deps, reading)), ...(outlook && waitingFields(outlook, c.var.caller)) });
    })
    .get("/jobs", async (c) => {
      const { cursor: after, tenant: wanted, ...filters } = readQuery(c, listSchema);
      const { admin, tenant } = c.var.caller;
      if (!admin && wanted !== undefined && wanted !== tenant) {
        throw new HttpError(403, "admin_required", "Only an administrator may list the jobs of others");
      }
      const page = await listJobs(client, { ...filters, after, tenant: admin ? wanted : tenant });
      return c.json({ jobs: page.jobs.map(jobSummary), next_cursor: page.nextCursor });
    })
    .post("/job/:id", async (c) => {
      const id = jobIdOf(c);
      const { status: state, error, remove_data: removeData } = await readBody(c, markSchema, config.api);
      return await end(c, id, {
        state,
        ...(removeData && { removeData }),
        ...(error !== undefined && { error: oneLine(error, MAX_ERROR_CHARS) }),
      });
    })
    .delete("/jobs/:id", (c) => end(c, jobIdOf(c), { state: "cancelled", removeData: true }));

  async function end(c: Context<ApiEnv>, id: string, request: EndRequest) {
    const outcome = await endJob(deps, jobs, id, c.var.caller, request);
    const removed = request.removeData ? " and data removed" : "";
    switch (outcome.kind) {
      case "marked":
        return c.json({ message: `Job ${id} marked as ${outcome.state}${removed}` });
      case "already":
        return c.json({ message: `Job ${id} already ${outcome.state}${removed}` });
      case "pending":
        return c.json({ message: `Job ${id} will be marked as ${request.state}${removed}`, pending: true }, 202);
      default:
        return outcome satisfies never;
    }
  }
}
