import { setTimeout as sleep } from "node:timers/promises";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { isFinal, type JobState, type RequestableState } from "../jobs/states.ts";
import { endJob as endJobSignal } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { Caller } from "./context.ts";
import { readJob } from "./readJob.ts";
import { temporalCall } from "./temporalCall.ts";

const SHOWN_WITHIN_MS = 2000;
const LOOK_EVERY_MS = 50;

/** What came of asking a job to end: it shows this state now, showed it before, or no worker has acted yet. */
export type EndOutcome = { kind: "marked" | "already"; state: JobState } | { kind: "pending" };

/**
 * Asks a job to end and waits up to two seconds until it shows how it did.
 * @throws HttpError 404
 */
export async function endJob(
  client: Client,
  id: string,
  caller: Caller,
  request: { state: RequestableState; error?: string },
): Promise<EndOutcome> {
  const before = await readJob(client, id, caller);
  if (isFinal(before.view.state)) return { kind: "already", state: before.view.state };
  try {
    await temporalCall(client, () => client.workflow.getHandle(ids.job(id)).signal(endJobSignal, request));
  } catch (error) {
    // It ended in the meantime.
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
  const deadline = performance.now() + SHOWN_WITHIN_MS;
  do {
    const { state } = (await readJob(client, id, caller)).view;
    if (isFinal(state)) return { kind: state === request.state ? "marked" : "already", state };
    await sleep(LOOK_EVERY_MS);
  } while (performance.now() < deadline);
  return { kind: "pending" };
}
