import {
  type Client,
  type WorkflowExecutionDescription,
  type WorkflowExecutionInfo,
  WorkflowNotFoundError,
} from "@temporalio/client";
import { decodeArrayFromPayloads } from "@temporalio/common/lib/internal-non-workflow/index.js";
import { z } from "zod";
import { ids, searchAttributes } from "../../contracts/names.ts";
import { truthOf } from "../../jobs/ending.ts";
import { type JobView, jobTypes } from "../../jobs/job.ts";
import { isFinal, jobStages, jobStates } from "../../jobs/states.ts";
import { keys } from "../../storage/keys.ts";
import { ObjectNotFound, type ObjectStore } from "../../storage/objectStore.ts";
import { isUnreadable } from "../../temporal/payloadCodec.ts";
import type { ApiDeps, Caller } from "../context.ts";
import { jobNotFound, unavailable } from "../http/errors.ts";
import { temporalCall } from "../http/temporalCall.ts";

/** A job as the Temporal server shows it, with no worker running, or as its record has kept it. */
export interface JobReading {
  view: JobView;
  /** 0–1; null when the model does not say, or does not run. */
  progress: number | null;
  /** The pool that the job waits in for a GPU. */
  waitsIn?: string;
  /** The caller's own. */
  metadata?: Record<string, unknown>;
  /** Of what was asked for under an idempotency key. */
  fingerprint?: string;
}

/** What a list says of a workflow, and a description. */
type Shown = Pick<WorkflowExecutionInfo, "memo" | "status" | "closeTime">;
type Deps = Pick<ApiDeps, "client" | "store">;

/** What is known of a job, whoever asks: how it is, or that it is there and cannot be read. */
export type JobFound = JobReading | { unreadable: true; tenant: string | undefined };

/**
 * A job that the caller may see.
 * @throws HttpError 404, also for a job of another tenant; 503 when the key that encrypted the job is missing
 */
export async function readJob(deps: Deps, id: string, caller: Caller): Promise<JobReading> {
  return shownTo(caller, await findJob(deps, id));
}

/** @throws HttpError 404 */
export async function findJob({ client, store }: Deps, id: string): Promise<JobFound> {
  const description = await describe(client, ids.job(id));
  if (description === undefined) return await readRecord(store, id);
  if (isUnreadable(description.memo?.view)) {
    return { unreadable: true, tenant: description.typedSearchAttributes.get(searchAttributes.tenant) };
  }
  const reading = readingOf(description);
  if (reading === undefined || (await isBeingRemoved(client, id, description))) throw jobNotFound();
  return { ...reading, progress: await progressOf(client, description) };
}

/** @throws HttpError 404 when it is a job of another tenant, 503 when it cannot be read */
export function shownTo(caller: Caller, found: JobFound): JobReading {
  const isUnreadable = "unreadable" in found;
  if (!maySee(caller, isUnreadable ? found.tenant : found.view.tenant)) throw jobNotFound();
  if (!isUnreadable) return found;
  throw unavailable("job_unreadable", "The job is encrypted with a key that this service does not have");
}

/** Whose jobs a caller may read, end and have the files of. */
function maySee({ tenant, admin }: Caller, owner: string | undefined): boolean {
  return admin || owner === tenant;
}

/**
 * A job that Temporal does not know (any more).
 * @throws HttpError 404
 */
async function readRecord(store: ObjectStore, id: string): Promise<JobReading> {
  try {
    const { body } = await store.get(keys.record(id));
    const record = recordSchema.parse(JSON.parse(Buffer.concat(await body.toArray()).toString()));
    return { view: record.view, progress: null, ...extrasOf(record) };
  } catch (error) {
    if (error instanceof ObjectNotFound) throw jobNotFound();
    throw error;
  }
}

/** What the memo of a workflow says of a job; undefined when it is no job, or one that was removed. */
export function readingOf(workflow: Shown): JobReading | undefined {
  const { data: memo } = memoSchema.safeParse(workflow.memo);
  if (memo === undefined || memo.removed) return undefined;
  const view = truthOf(memo.view, workflow.status.name, workflow.closeTime);
  const waitsIn = isFinal(view.state) ? undefined : memo.waiting?.gpuType;
  return { view, progress: null, ...(waitsIn !== undefined && { waitsIn }), ...extrasOf(memo) };
}

function extrasOf({ metadata, fingerprint }: z.output<typeof recordSchema>) {
  return { ...(metadata && { metadata }), ...(fingerprint && { fingerprint }) };
}

async function describe(client: Client, workflowId: string): Promise<WorkflowExecutionDescription | undefined> {
  try {
    return await temporalCall(client, () => client.workflow.getHandle(workflowId).describe());
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}

/** A closed workflow cannot say so itself, and the server takes its time to delete one. */
async function isBeingRemoved(client: Client, id: string, { status }: WorkflowExecutionDescription): Promise<boolean> {
  if (status.name === "RUNNING") return false;
  return (await describe(client, ids.removal(id)))?.status.name === "RUNNING";
}

const recordSchema = z.object({
  view: z.custom<JobView>((value) => viewCore.safeParse(value).success),
  // A record would lose a key that is named `__proto__`.
  metadata: z.custom<Record<string, unknown>>((value) => typeof value === "object").nullish(),
  fingerprint: z.string().nullish(),
});

const memoSchema = recordSchema.extend({
  waiting: z.object({ gpuType: z.string() }).nullish(),
  removed: z.boolean().optional(),
});

/** As much of a view as the answers are made from. */
const viewCore = z.object({
  id: z.string(),
  type: z.enum(jobTypes),
  state: z.enum(jobStates),
  stage: z.enum(jobStages).optional(),
  error: z.string().optional(),
  completeBy: z.string(),
  files: z.array(z.object({ key: z.string() })),
});

const runProgress = z.object({ progress: z.number().nullable() });

/** The last heartbeat of the running model; a few seconds old. */
async function progressOf(client: Client, { raw }: WorkflowExecutionDescription): Promise<number | null> {
  const run = raw.pendingActivities?.find(({ activityType }) => activityType?.name === "runModel");
  const converter = client.options.loadedDataConverter;
  const [details] = await decodeArrayFromPayloads(converter, run?.heartbeatDetails?.payloads);
  return runProgress.safeParse(details).data?.progress ?? null;
}
