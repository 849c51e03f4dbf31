import { setTimeout as delay } from "node:timers/promises";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { drain, resizePool } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { Say } from "./binaries.ts";

const MANAGERS = "WorkflowType = 'gpuManager' AND ExecutionStatus = 'Running'";
const POOLS = "WorkflowType = 'gpuPool' AND ExecutionStatus = 'Running'";

/**
 * Stops every instance, and waits until all are gone. When Temporal goes down, too, no timer would stop a paid
 * instance. The pools are held, so that they launch no other one for the jobs that lose theirs; those go on
 * waiting, and get a new one at the next start.
 */
export async function releaseInstances(client: Client, say: Say): Promise<void> {
  for (const poolId of await idsOf(client, POOLS)) {
    await client.workflow.getHandle(poolId).signal(resizePool, { paused: true });
  }
  let told = new Set<string>();
  for (;;) {
    const managers = await idsOf(client, MANAGERS);
    if (managers.length === 0) return;
    const waited = managers.filter((gpuId) => !told.has(gpuId));
    if (waited.length > 0)
      say(`Stopping ${waited.length} GPU instance${waited.length > 1 ? "s" : ""} first: ${waited.join(", ")}`);
    for (const gpuId of waited)
      await unlessClosed(
        client.workflow.getHandle(gpuId).signal(drain, { now: true, reason: "the service shuts down" }),
      );
    told = new Set(managers);
    await delay(100);
  }
}

/** Lets the pools go on that `releaseInstances` held. */
export async function resumePools(client: Client, gpuTypes: readonly string[]): Promise<void> {
  for (const type of gpuTypes) {
    await unlessClosed(client.workflow.getHandle(ids.pool(type)).signal(resizePool, { paused: false }));
  }
}

/** The instances that are still paid for. */
export async function openManagers(client: Client): Promise<string[]> {
  return await idsOf(client, MANAGERS);
}

async function idsOf(client: Client, query: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { workflowId } of client.workflow.list({ query })) found.push(workflowId);
  return found;
}

async function unlessClosed(sending: Promise<void>): Promise<void> {
  try {
    await sending;
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
}
