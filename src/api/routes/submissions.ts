import { type Context, Hono } from "hono";
import type { z } from "zod";
import type { JobInputs, JobSpec, JobType } from "../../jobs/job.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import type { QueueReports } from "../gpus/queueReports.ts";
import { readBody } from "../http/body.ts";
import { HttpError } from "../http/errors.ts";
import { createTurns } from "../http/turns.ts";
import { createAdmission } from "../jobs/admission.ts";
import { idempotentJob, submitOnce } from "../jobs/idempotency.ts";
import type { JobReader } from "../jobs/jobReader.ts";
import type { WatchJob } from "../jobs/jobWatch.ts";
import { pathFor } from "../jobs/links.ts";
import { documentAfter, preferredWaitSeconds } from "../jobs/preferredWait.ts";
import { submissionSchemas } from "../jobs/submissionSchemas.ts";
import { acceptJob, type Submission, submitJob } from "../jobs/submitJob.ts";
import { limitSubmissions } from "../middleware/rateLimit.ts";

/** Where the models of the media nodes run. */
const MEDIA_POOL = "media:fast";
/** Jobs that this process starts at one time; a Temporal server that is well takes a few hundredths of a second for one. */
const MAX_STARTS = 32;
const TURN_WITHIN_MS = 2000;

/** A route per kind of job. */
export function submissionRoutes(deps: ApiDeps, reports: QueueReports, jobs: JobReader, watchJob: WatchJob) {
  const { vision, modal, api } = deps.config;
  const admit = createAdmission(deps, reports);
  const inTurn = createTurns(MAX_STARTS, TURN_WITHIN_MS);
  const limit = limitSubmissions(deps);
  const schemas = submissionSchemas(deps.config);

  async function accept<T extends JobType>(
    c: Context<ApiEnv>,
    type: T,
    schema: z.ZodType<Submission & { input: JobInputs[T] }>,
    { gpuType, answer }: { gpuType?: string; answer: (id: string) => Record<string, string> },
  ): Promise<Response> {
    const body = await readBody(c, schema, api);
    const once = idempotentJob(c, c.var.caller, [type, body]);
    const common = acceptJob(body, c.var.caller, deps.config, once);
    // The compiler does not see that type and input belong together.
    const job = { ...common, type, input: body.input, ...(gpuType !== undefined && { gpuType }) } as JobSpec;
    const start = async () => {
      await admit(c.var.caller, job.id);
      return await submitJob(deps, job);
    };
    const submit = () => inTurn(start, () => c.req.raw.signal.aborted);
    const replayed = once !== undefined && (await submitOnce(jobs, job, c.var.caller, submit));
    if (once === undefined) await submit();
    c.header("Location", pathFor(c, `/jobs/${job.id}`, api));
    if (replayed) c.header("Idempotent-Replayed", "true");
    const seconds = preferredWaitSeconds(c);
    if (seconds === undefined) return c.json(answer(job.id));
    c.header("Preference-Applied", `wait=${seconds}`);
    return c.json((await documentOf(c, job.id, seconds)) ?? answer(job.id));
  }

  /** The job is started, whatever comes of the wait. */
  async function documentOf(c: Context<ApiEnv>, id: string, seconds: number) {
    try {
      return await documentAfter(c, deps, watchJob, { id, seconds });
    } catch (error) {
      deps.log.warn({ err: error, jobId: id }, "the document of the new job cannot be made");
      return undefined;
    }
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
