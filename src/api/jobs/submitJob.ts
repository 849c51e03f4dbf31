import { randomUUID } from "node:crypto";
import { WorkflowExecutionAlreadyStartedError } from "@temporalio/client";
import { TypedSearchAttributes } from "@temporalio/common";
import type { Config } from "../../config/index.ts";
import { ids } from "../../contracts/names.ts";
import { initialView, type JobSpec, type StoredJob } from "../../jobs/job.ts";
import type { SpeechInput } from "../../jobs/speech.ts";
import type { Priority } from "../../jobs/submission.ts";
import { namesPrivateAddress } from "../../net/addresses.ts";
import { searchAttributes, taskQueues } from "../../temporal/connection.ts";
import type { renderJob } from "../../workflows/renderJob.ts";
import type { ApiDeps, Caller } from "../context.ts";
import { type HttpError, invalidBody, unavailable } from "../http/errors.ts";
import { settled } from "../http/settled.ts";
import type { IdempotentJob } from "./idempotency.ts";

/** The deadlines of a job end it from inside, with cleanup; the server's own only catches what they miss. */
const BACKSTOP_MS = 600_000;

/** What the body of every submission gives, whatever its type. */
export interface Submission {
  notify_url?: string | undefined;
  max_time: number;
  complete_in: number;
  priority: Priority;
  metadata?: Record<string, unknown> | undefined;
}

/**
 * The part of a job that does not depend on its type.
 * @throws HttpError 400 for a webhook to a literal private address; names are checked when they are used
 */
export function acceptJob(
  body: Submission,
  { tenant, weight }: Caller,
  config: Config,
  { id, fingerprint }: Partial<IdempotentJob> = {},
) {
  requirePublic("notify_url", body.notify_url, config.trustedOrigins.webhooks);
  const createdAt = Date.now();
  return {
    id: id ?? randomUUID(),
    tenant,
    priority: body.priority,
    ...(weight !== undefined && { weight }),
    createdAt,
    completeBy: createdAt + body.complete_in * 1000,
    maxTimeSeconds: Math.min(body.max_time, config.jobs.maxRenderTimeSeconds),
    ...(body.notify_url !== undefined && { notifyUrl: body.notify_url }),
    ...(body.metadata !== undefined && { metadata: body.metadata }),
    ...(fingerprint !== undefined && { fingerprint }),
  };
}

function requirePublic(field: string, value: string | undefined, trustedOrigins: string[]): void {
  if (value === undefined) return;
  const url = new URL(value);
  if (trustedOrigins.includes(url.origin) || !namesPrivateAddress(url)) return;
  throw invalidBody({ [field]: "must not lead to a private address" });
}

/**
 * Starts the workflow of a job. A call that is repeated because its answer was lost starts no second one:
 * the workflow's id is the job's.
 * @returns false when it was there already
 * @throws when the Temporal server does not take it: then there is no such job; HttpError 503, which names the
 * job, when it is not known whether it does
 */
export async function submitJob(
  { client, config }: Pick<ApiDeps, "client" | "config">,
  job: JobSpec,
): Promise<boolean> {
  const { maxAttempts, leaseRenewalMs, cancelSettleMs } = config.gpu;
  const settings = { maxGpuAttempts: maxAttempts, leaseRenewalMs, cancelSettleMs };
  const start = () =>
    client.workflow.start<typeof renderJob>("renderJob", {
      workflowId: ids.job(job.id),
      workflowIdReusePolicy: "REJECT_DUPLICATE",
      taskQueue: taskQueues.main,
      args: [{ job, settings }],
      memo: memoOf(job),
      typedSearchAttributes: attributesOf(job),
      workflowExecutionTimeout: job.completeBy - job.createdAt + BACKSTOP_MS,
      staticSummary: `${job.type}: ${askedFor(job)}`,
      staticDetails: detailsOf(job),
    });
  try {
    await settled(client, start, startUnknown(job.id));
    return true;
  } catch (error) {
    if (error instanceof WorkflowExecutionAlreadyStartedError) return false;
    throw error;
  }
}

/** For a caller who must be able to find out: the job may exist, and a second one would be paid for, too. */
export function startUnknown(id: string): (cause: unknown) => HttpError {
  const message = `It is not known whether the job ${id} was started: ask for its status before you submit it again`;
  return (cause) => unavailable("job_start_unknown", message, { body: { job_id: id }, cause });
}

function memoOf(job: JobSpec): StoredJob & Record<string, unknown> {
  return { view: initialView(job), metadata: job.metadata ?? null, fingerprint: job.fingerprint ?? null };
}

function attributesOf(job: JobSpec): TypedSearchAttributes {
  return new TypedSearchAttributes([
    { key: searchAttributes.jobType, value: job.type },
    { key: searchAttributes.jobState, value: "queued" },
    { key: searchAttributes.tenant, value: job.tenant },
    { key: searchAttributes.completeBy, value: new Date(job.completeBy) },
  ]);
}

function askedFor(job: JobSpec): string {
  switch (job.type) {
    case "csm":
      return speechAskedFor(job.input);
    case "whisper": {
      const { task, model, language } = job.input;
      return `${task} a recording with ${model}, language ${language === "" ? "to be found out" : language}`;
    }
    case "portrait": {
      const { sound } = job.input;
      return `let a picture ${"speech" in sound ? speechAskedFor(sound.speech) : "speak a recording"}`;
    }
    case "analyze":
      return `describe a picture with ${job.input.model}`;
    case "lipsync":
      return `synchronize the lips of ${job.input.face.kind === "video" ? "a video" : "a picture"} with a recording`;
    default:
      return job satisfies never;
  }
}

function speechAskedFor({ monologue, voice }: SpeechInput): string {
  return `speak ${monologue.length} ${monologue.length === 1 ? "item" : "items"} of text, voice ${voice}`;
}

/** What was asked for, in the Web UI: nothing of what the texts say, and no URL's query string. */
function detailsOf(job: JobSpec): string {
  const lines = [
    `Asked to ${askedFor(job)}.`,
    "",
    `- tenant ${job.tenant}, priority ${job.priority}`,
    `- accepted ${new Date(job.createdAt).toISOString()}`,
    `- to be completed by ${new Date(job.completeBy).toISOString()} (\`complete_in\`)`,
    `- at most ${job.maxTimeSeconds} s of processing (\`max_time\`)`,
    job.notifyUrl === undefined ? "- no webhook" : `- webhook to ${new URL(job.notifyUrl).origin}`,
  ];
  return lines.join("\n");
}
