import { setTimeout as delay } from "node:timers/promises";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { z } from "zod";
import type { ObjectStore } from "../storage/objectStore.ts";
import { readPoolOverrides } from "../storage/poolOverrides.ts";
import { drain, resizePool } from "../workflows/messages.ts";
import { ids } from "../workflows/names.ts";
import type { Say } from "./binaries.ts";

const managerMemo = z.object({ gpu: z.object({ state: z.string() }) });
const LOOK_EVERY_MS = 100;
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
  const told = new Set<string>();
  for (;;) {
    const instances = await openInstances(client);
    if (instances.length === 0) return;
    const fresh = instances.filter((gpuId) => !told.has(gpuId));
    if (fresh.length > 0) say(`Stopping ${fresh.length} GPU instance(s) first: ${fresh.join(", ")}`);
    for (const gpuId of fresh) {
      told.add(gpuId);
      const request = { now: true, reason: "the service shuts down" };
      await unlessClosed(client.workflow.getHandle(gpuId).signal(drain, request));
    }
    await delay(LOOK_EVERY_MS);
  }
}

/** Lets the pools go on that `releaseInstances` held, unless an operator has paused them. */
export async function resumePools(client: Client, store: ObjectStore, gpuTypes: readonly string[]): Promise<void> {
  for (const type of gpuTypes) {
    const { paused = false } = await readPoolOverrides(store, type);
    await unlessClosed(client.workflow.getHandle(ids.pool(type)).signal(resizePool, { paused }));
  }
}

/** The instances that are still paid for, by the id of their manager; one that is stopped may take a moment to close. */
export async function openInstances(client: Client): Promise<string[]> {
  const found: string[] = [];
  for await (const { workflowId, memo } of client.workflow.list({ query: MANAGERS })) {
    if (managerMemo.safeParse(memo).data?.gpu.state !== "stopped") found.push(workflowId);
  }
  return found;
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
