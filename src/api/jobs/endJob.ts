import { setTimeout as sleep } from "node:timers/promises";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { ids } from "../../contracts/names.ts";
import { endJob as endJobSignal } from "../../contracts/signals.ts";
import { type EndRequest, isFinal, type JobState } from "../../jobs/states.ts";
import { taskQueues } from "../../temporal/connection.ts";
import type { removeJob } from "../../workflows/removeJob.ts";
import type { ApiDeps, Caller } from "../context.ts";
import { HttpError } from "../http/errors.ts";
import { outcomeUnknown, settled } from "../http/settled.ts";
import type { JobReader } from "./jobReader.ts";

const SHOWN_WITHIN_MS = 2000;
const LOOK_EVERY_MS = 50;

/** What came of asking a job to end: it shows this state now, showed it before, or no worker has acted yet. */
export type EndOutcome = { kind: "marked" | "already"; state: JobState } | { kind: "pending" };

/**
 * Asks a job to end and waits up to two seconds until it shows how it did; with `removeData`, until there is
 * no such job any more.
 * @throws HttpError 404; 503 when it is not known whether the job was told
 */
export async function endJob(
  { client, log }: Pick<ApiDeps, "client" | "log">,
  jobs: JobReader,
  id: string,
  caller: Caller,
  request: EndRequest,
): Promise<EndOutcome> {
  const before = (await jobs.readNow(id, caller)).view.state;
  const { removeData = false } = request;
  if (isFinal(before) && !removeData) return { kind: "already", state: before };
  // First, so that nothing is left when this process dies in between.
  if (removeData) await startRemoval(client, id);
  try {
    const signal = () => client.workflow.getHandle(ids.job(id)).signal(endJobSignal, request);
    await settled(client, signal, outcomeUnknown(`the job ${id} will be ${request.state}`, { job_id: id }));
  } catch (error) {
    // It ended in the meantime.
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
  const deadline = performance.now() + SHOWN_WITHIN_MS;
  do {
    const state = await stateNow();
    if (state === undefined) break;
    if (state === "removed")
      return isFinal(before) ? { kind: "already", state: before } : { kind: "marked", state: request.state };
    if (isFinal(state) && !removeData) return { kind: state === request.state ? "marked" : "already", state };
    await sleep(LOOK_EVERY_MS);
  } while (performance.now() < deadline);
  return { kind: "pending" };

  /** The job was told: that it cannot be looked at now is no failure of what was asked for. */
  async function stateNow(): Promise<JobState | "removed" | undefined> {
    try {
      return (await jobs.readNow(id, caller)).view.state;
    } catch (error) {
      if (removeData && error instanceof HttpError && error.status === 404) return "removed";
      log.warn({ err: error, jobId: id }, "the job was asked to end, and cannot be looked at");
      return undefined;
    }
  }
}

/** The removal waits for the end of the job, whatever brings it about. */
async function startRemoval(client: Client, id: string): Promise<void> {
  const start = () =>
    client.workflow.start<typeof removeJob>("removeJob", {
      workflowId: ids.removal(id),
      workflowIdConflictPolicy: "USE_EXISTING",
      taskQueue: taskQueues.main,
      args: [{ jobId: id }],
      staticSummary: "remove a job's files, record and workflows once it has ended",
    });
  await settled(client, start, outcomeUnknown(`the job ${id} will be removed`, { job_id: id }));
}
