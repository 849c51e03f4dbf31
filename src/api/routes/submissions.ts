import { type Context, Hono } from "hono";
import type { z } from "zod";
import type { JobInputs, JobSpec, JobType } from "../../jobs/job.ts";
import { createAdmission } from "../admission.ts";
import { readBody } from "../body.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";
import { idempotentJob, submitOnce } from "../idempotency.ts";
import type { WatchJob } from "../jobWatch.ts";
import { pathFor } from "../links.ts";
import { limitSubmissions } from "../middleware/rateLimit.ts";
import { documentAfter, preferredWaitSeconds } from "../preferredWait.ts";
import { submissionSchemas } from "../submissionSchemas.ts";
import { acceptJob, type Submission, submitJob } from "../submitJob.ts";

/** Where the models of the media nodes run. */
const MEDIA_POOL = "media:fast";

/** A route per kind of job. */
export function submissionRoutes(deps: ApiDeps, watchJob: WatchJob) {
  const { vision, modal, api } = deps.config;
  const admit = createAdmission(deps);
  const limit = limitSubmissions(deps);
  const schemas = submissionSchemas(deps.config);

  async function accept<T extends JobType>(
    c: Context<ApiEnv>,
    type: T,
    schema: z.ZodType<Submission & { input: JobInputs[T] }>,
    { gpuType, answer }: { gpuType?: string; answer: (id: string) => Record<string, string> },
  ): Promise<Response> {
    const body = await readBody(c, schema, api.maxBodyBytes);
    const once = idempotentJob(c, c.var.caller, [type, body]);
    const common = acceptJob(body, c.var.caller, deps.config, once);
    // The compiler does not see that type and input belong together.
    const job = { ...common, type, input: body.input, ...(gpuType !== undefined && { gpuType }) } as JobSpec;
    const submit = async () => {
      await admit(c.var.caller);
      return await submitJob(deps, job);
    };
    const replayed = once !== undefined && (await submitOnce(deps, job, c.var.caller, submit));
    if (once === undefined) await submit();
    c.header("Location", pathFor(c, `/jobs/${job.id}`, api));
    if (replayed) c.header("Idempotent-Replayed", "true");
    const seconds = preferredWaitSeconds(c);
    if (seconds === undefined) return c.json(answer(job.id));
    c.header("Preference-Applied", `wait=${seconds}`);
    return c.json((await documentAfter(c, deps, watchJob, { id: job.id, seconds })) ?? answer(job.id));
  }

  function post<T extends JobType>(
    path: `/${string}`,
    type: T,
    gpuType: string,
    schema: z.ZodType<Submission & { input: JobInputs[T] }>,
  ) {
    const answer = (id: string) => ({ id, status: "queued" });
    return new Hono<ApiEnv>().post(path, limit, (c) => accept(c, type, schema, { gpuType, answer }));
  }

  return new Hono<ApiEnv>()
    .route("/", post("/csm", "csm", MEDIA_POOL, schemas.csm))
    .route("/", post("/whisper", "whisper", MEDIA_POOL, schemas.whisper))
    .route("/", post("/portrait", "portrait", MEDIA_POOL, schemas.portrait))
    .route("/", post("/analyze", "analyze", vision.pool, schemas.analyze))
    .post("/jobs", limit, async (c) => {
      if (modal === undefined) {
        const message = "Lip-sync is not configured here: it needs MODAL_TOKEN_ID and MODAL_TOKEN_SECRET";
        throw new HttpError(503, "lip_sync_not_configured", message);
      }
      return await accept(c, "lipsync", schemas.lipsync, { answer: (id) => ({ job_id: id, status: "submitted" }) });
    });
}
