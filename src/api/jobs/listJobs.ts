import type { Client, WorkflowExecutionInfo } from "@temporalio/client";
import { z } from "zod";
import { ids } from "../../contracts/names.ts";
import { integer, LATEST_MS } from "../../jobs/fields.ts";
import { type JobType, jobTypes } from "../../jobs/job.ts";
import { isFinal, type JobState, jobStates } from "../../jobs/states.ts";
import { searchAttributes } from "../../temporal/connection.ts";
import { isLatestRun } from "../../temporal/latestRun.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { type JobReading, readingOf } from "./readJob.ts";
import { quoted } from "./searchQuery.ts";

/**
 * Jobs, newest first, from Temporal's visibility. Its own order is another one (open workflows, then by the time
 * they closed) and only some of its stores can be asked for a different one, so a page is made of slices of time:
 * each is read whole, if it is not too full, and sorted here.
 */
export interface JobQuery {
  status?: JobState | undefined;
  type?: JobType | undefined;
  /** Of all tenants when undefined. */
  tenant: string | undefined;
  limit: number;
  /** The last job of the page before. */
  after?: Position | undefined;
}

/** A job's place in the list: when its workflow was started (epoch milliseconds), and its id. */
export type Position = [startedAt: number, id: string];

/** The query of `GET /jobs`. */
export const listSchema = z.object({
  status: z.enum(jobStates).optional(),
  type: z.enum(jobTypes).optional(),
  tenant: z.string().min(1).max(200).optional().describe("Of others: for administrators"),
  limit: integer(1, 100, 20),
  cursor: z.string().max(200).transform(positionOf).optional().describe("The `next_cursor` of the page before"),
});

export interface JobPage {
  jobs: JobReading[];
  /** Undefined at the end of the list. */
  nextCursor?: string;
}

/** Workflows of a slice; fuller ones are cut into smaller slices. */
const MAX_SLICE = 200;
const FIRST_SLICE_MS = 3_600_000;

interface Listed {
  position: Position;
  reading: JobReading;
  run: WorkflowExecutionInfo;
}

export async function listJobs(client: Client, { after, limit, ...filters }: JobQuery): Promise<JobPage> {
  const query = queryOf(filters);
  const removed = await beingRemoved(client);
  const found: Listed[] = [];
  const newest = Date.now() + FIRST_SLICE_MS;
  let end = after === undefined ? newest : Math.min(after[0] + 1, newest);
  // All there is, if it is not much.
  let width = end;
  while (end > 0 && found.length <= limit) {
    const start = Math.max(0, end - width);
    const slice = await sliceOf(client, `${query} AND ${between(start, end)}`, width > 1 ? MAX_SLICE : Infinity);
    if (slice === undefined) {
      width = width === end ? Math.min(FIRST_SLICE_MS, width - 1) : Math.max(1, Math.floor(width / 8));
      continue;
    }
    const listed = slice.flatMap(listedOf).filter(({ reading: { view } }) => {
      const isOfTenant = filters.tenant === undefined || view.tenant === filters.tenant;
      return isOfTenant && !removed.has(ids.removal(view.id));
    });
    const inOrder = listed.filter(({ position }) => isAfter(position, after)).sort(byPosition);
    found.push(...(await latestOf(client, inOrder, limit + 1 - found.length)));
    end = start;
    width *= 4;
  }
  const page = found.slice(0, limit);
  const last = page.at(-1);
  return {
    jobs: page.map(({ reading }) => reading),
    ...(found.length > limit && last && { nextCursor: cursorOf(last.position) }),
  };
}

function queryOf({ status, type, tenant }: Omit<JobQuery, "limit" | "after">): string {
  const conditions = ["WorkflowType = 'renderJob'"];
  if (type !== undefined) conditions.push(`${searchAttributes.jobType.name} = ${quoted(type)}`);
  if (tenant !== undefined) conditions.push(`${searchAttributes.tenant.name} = ${quoted(tenant)}`);
  if (status !== undefined) conditions.push(stateIs(status));
  return conditions.join(" AND ");
}

/** A workflow that was ended from outside has not written so. */
function stateIs(state: JobState): string {
  const is = `${searchAttributes.jobState.name} = ${quoted(state)}`;
  if (!isFinal(state)) return `(${is} AND ExecutionStatus = 'Running')`;
  if (state !== "failed") return is;
  const notFinal = jobStates.filter((other) => !isFinal(other)).map(quoted);
  return `(${is} OR (${searchAttributes.jobState.name} IN (${notFinal}) AND ExecutionStatus != 'Running'))`;
}

function between(start: number, end: number): string {
  const time = (ms: number) => `'${new Date(ms).toISOString()}'`;
  return `StartTime >= ${time(start)} AND StartTime < ${time(end)}`;
}

/** Undefined when there are more than `max`: then they are to be asked for in parts. */
async function sliceOf(client: Client, query: string, max: number): Promise<WorkflowExecutionInfo[] | undefined> {
  return await temporalCall(client, async () => {
    const { count } = await client.workflow.count(query);
    if (count > max) return undefined;
    const slice: WorkflowExecutionInfo[] = [];
    if (count > 0) for await (const workflow of client.workflow.list({ query })) slice.push(workflow);
    return slice;
  });
}

/** The removals that are under way. */
async function beingRemoved(client: Client): Promise<Set<string>> {
  return await temporalCall(client, async () => {
    const found = new Set<string>();
    const query = "WorkflowType = 'removeJob' AND ExecutionStatus = 'Running'";
    for await (const { workflowId } of client.workflow.list({ query })) found.add(workflowId);
    return found;
  });
}

/** The first `wanted` of them that are how their jobs are: one that was reset has gone on in another run. */
async function latestOf(client: Client, listed: readonly Listed[], wanted: number): Promise<Listed[]> {
  const latest: Listed[] = [];
  for (let next = 0; next < listed.length && latest.length < wanted; ) {
    const some = listed.slice(next, next + wanted - latest.length);
    next += some.length;
    const check = async ({ run }: Listed) => run.status.name === "RUNNING" || (await isLatestRun(client, run));
    const areLatest = await temporalCall(client, () => Promise.all(some.map(check)));
    latest.push(...some.filter((_, index) => areLatest[index]));
  }
  return latest;
}

function listedOf(workflow: WorkflowExecutionInfo): Listed[] {
  const reading = readingOf(workflow);
  return reading === undefined
    ? []
    : [{ position: [workflow.startTime.getTime(), reading.view.id], reading, run: workflow }];
}

function byPosition({ position: [at, id] }: Listed, { position: [otherAt, otherId] }: Listed): number {
  return otherAt - at || (id < otherId ? 1 : -1);
}

function isAfter([at, id]: Position, after: Position | undefined): boolean {
  return after === undefined || at < after[0] || (at === after[0] && id < after[1]);
}

function cursorOf(position: Position): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

const positionSchema = z.tuple([z.number().int().min(0).max(LATEST_MS), z.string()]);

function positionOf(cursor: string, context: z.RefinementCtx): Position {
  const { data } = positionSchema.safeParse(parsed(Buffer.from(cursor, "base64url").toString()));
  if (data !== undefined) return data;
  context.addIssue({ code: "custom", message: "is not a cursor of this list" });
  return z.NEVER;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
