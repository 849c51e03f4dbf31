import { setTimeout as sleep } from "node:timers/promises";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { type EndRequest, isFinal, type JobState } from "../jobs/states.ts";
import { taskQueues } from "../temporal.ts";
import { endJob as endJobSignal } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { removeJob } from "../workflows/removeJob.ts";
import type { ApiDeps, Caller } from "./context.ts";
import { HttpError } from "./errors.ts";
import { readJob } from "./readJob.ts";
import { temporalCall } from "./temporalCall.ts";

const SHOWN_WITHIN_MS = 2000;
const LOOK_EVERY_MS = 50;

/** What came of asking a job to end: it shows this state now, showed it before, or no worker has acted yet. */
export type EndOutcome = { kind: "marked" | "already"; state: JobState } | { kind: "pending" };

/**
 * Asks a job to end and waits up to two seconds until it shows how it did; with `removeData`, until there is
 * no such job any more.
 * @throws HttpError 404
 */
export async function endJob(
  deps: Pick<ApiDeps, "client" | "store">,
  id: string,
  caller: Caller,
  request: EndRequest,
): Promise<EndOutcome> {
  const { client } = deps;
  const before = (await readJob(deps, id, caller)).view.state;
  const { removeData = false } = request;
  if (isFinal(before) && !removeData) return { kind: "already", state: before };
  // First, so that nothing is left when this process dies in between.
  if (removeData) await startRemoval(client, id);
  try {
    await temporalCall(client, () => client.workflow.getHandle(ids.job(id)).signal(endJobSignal, request));
  } catch (error) {
    // It ended in the meantime.
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
  const deadline = performance.now() + SHOWN_WITHIN_MS;
  do {
    const state = await stateNow();
    if (state === "removed")
      return isFinal(before) ? { kind: "already", state: before } : { kind: "marked", state: request.state };
    if (isFinal(state) && !removeData) return { kind: state === request.state ? "marked" : "already", state };
    await sleep(LOOK_EVERY_MS);
  } while (performance.now() < deadline);
  return { kind: "pending" };

  async function stateNow(): Promise<JobState | "removed"> {
    try {
      return (await readJob(deps, id, caller)).view.state;
    } catch (error) {
      if (removeData && error instanceof HttpError && error.status === 404) return "removed";
      throw error;
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
  await temporalCall(client, start);
}
