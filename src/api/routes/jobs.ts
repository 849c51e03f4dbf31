import { Hono } from "hono";
import { z } from "zod";
import { isFinal, requestableStates } from "../../jobs/states.ts";
import { readBody } from "../body.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { endJob } from "../endJob.ts";
import { jobDocument } from "../jobDocument.ts";
import { jobIdOf } from "../jobId.ts";
import { outlookOf, type ReadPool, waitingFields } from "../poolStatus.ts";
import { readJob } from "../readJob.ts";

const MAX_ERROR_CHARS = 1000;

const markSchema = z.object({
  status: z.enum(requestableStates),
  error: z.string().max(MAX_ERROR_CHARS).optional(),
  remove_data: z.literal(false, { error: "removing the data is not supported" }).optional(),
});

/** How a job is, and ending it. */
export function jobRoutes(deps: ApiDeps, readPool: ReadPool) {
  const { client } = deps;
  return new Hono<ApiEnv>()
    .get("/status/:id", async (c) => {
      const id = jobIdOf(c);
      const { view, progress, waitsIn } = await readJob(client, id, c.var.caller);
      const { state: status, stage, error } = view;
      if (isFinal(status)) return c.json({ id, status, ...(error !== undefined && { error }) });
      const outlook = waitsIn === undefined ? undefined : await outlookOf(readPool, waitsIn, id);
      return c.json({
        id,
        status,
        ...(stage !== undefined && { stage }),
        progress,
        ...(outlook && waitingFields(outlook)),
      });
    })
    .get("/jobs/:id", async (c) => {
      const reading = await readJob(client, jobIdOf(c), c.var.caller);
      const { view, waitsIn } = reading;
      const outlook = waitsIn === undefined ? undefined : await outlookOf(readPool, waitsIn, view.id);
      return c.json({ ...(await jobDocument(c, deps, reading)), ...(outlook && waitingFields(outlook)) });
    })
    .post("/job/:id", async (c) => {
      const id = jobIdOf(c);
      const { status: state, error } = await readBody(c, markSchema, deps.config.api.maxBodyBytes);
      const outcome = await endJob(client, id, c.var.caller, { state, ...(error !== undefined && { error }) });
      switch (outcome.kind) {
        case "marked":
          return c.json({ message: `Job ${id} marked as ${outcome.state}` });
        case "already":
          return c.json({ message: `Job ${id} already ${outcome.state}` });
        case "pending":
          return c.json({ message: `Job ${id} will be marked as ${state}`, pending: true }, 202);
        default:
          return outcome satisfies never;
      }
    });
}
