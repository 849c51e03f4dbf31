import { setTimeout as delay } from "node:timers/promises";
import { type Client, WorkflowNotFoundError } from "@temporalio/client";
import { z } from "zod";
import { ids } from "../contracts/names.ts";
import { drain, poolStatus, resizePool } from "../contracts/signals.ts";
import type { GpuView } from "../gpus/types.ts";
import { messageOf } from "../lib/text.ts";
import type { ObjectStore } from "../storage/objectStore.ts";
import { readPoolOverrides } from "../storage/poolOverrides.ts";
import type { Say } from "./binaries.ts";

/** An instance that is paid for, or may be. */
export interface OpenInstance extends Pick<GpuView, "gpuId" | "state" | "expiresAt"> {
  node?: string | undefined;
  workload?: string | undefined;
}

/** What is left when stopping has ended. */
export interface Leftover {
  /** As it was seen last. */
  instances: OpenInstance[];
  /** Why there may be others; undefined when it is certain that there are none. */
  unknown?: string;
}

const managerMemo = z.object({
  gpu: z.object({
    state: z.enum(["launching", "starting", "idle", "leased", "draining", "stopping", "stopped", "lost"]),
    node: z.string().optional(),
    workload: z.string().optional(),
    expiresAt: z.number(),
  }),
});
const LOOK_EVERY_MS = 100;
const POOL_ANSWERS_WITHIN_MS = 5000;
const MANAGERS = "WorkflowType = 'gpuManager' AND ExecutionStatus = 'Running'";
const POOLS = "WorkflowType = 'gpuPool' AND ExecutionStatus = 'Running'";

/**
 * Stops every instance, and waits until all are gone, for at most `withinMs`. When Temporal goes down, too, no timer would
 * stop a paid instance. The pools are held, so that they launch no other one for the jobs that lose theirs; those go on
 * waiting, and get a new one at the next start.
 */
export async function releaseInstances(client: Client, say: Say, withinMs: number): Promise<Leftover> {
  const deadline = performance.now() + withinMs;
  const told = new Set<string>();
  let instances: OpenInstance[] = [];
  try {
    await client.withDeadline(Date.now() + withinMs, async () => {
      const managers = await holdPools(client);
      do {
        instances = await openInstances(client, managers);
        const fresh = instances.map(({ gpuId }) => gpuId).filter((gpuId) => !told.has(gpuId));
        if (fresh.length > 0) say(`Stopping ${fresh.length} GPU instance(s) first: ${fresh.join(", ")}`);
        for (const gpuId of fresh) {
          told.add(gpuId);
          const request = { now: true, reason: "the service shuts down" };
          await unlessClosed(client.workflow.getHandle(gpuId).signal(drain, request));
        }
        if (instances.length > 0) await delay(LOOK_EVERY_MS);
      } while (instances.length > 0 && performance.now() < deadline);
    });
    return { instances };
  } catch (error) {
    return { instances, unknown: messageOf(error) };
  }
}

/**
 * Holds every pool.
 * @returns the managers that the pools know: the list of workflows may lack one that has just been started
 */
async function holdPools(client: Client): Promise<string[]> {
  const managers: string[] = [];
  for (const poolId of await idsOf(client, POOLS)) {
    const pool = client.workflow.getHandle(poolId);
    await unlessClosed(pool.signal(resizePool, { paused: true }));
    const status = await client
      .withDeadline(Date.now() + POOL_ANSWERS_WITHIN_MS, () => pool.query(poolStatus))
      // One that does not answer launches nothing, either: its managers are listed by now.
      .catch(() => undefined);
    managers.push(...(status?.gpus ?? []).map(({ gpuId }) => gpuId));
  }
  return managers;
}

/** Lets the pools go on that `releaseInstances` held, unless an operator has paused them. */
export async function resumePools(client: Client, store: ObjectStore, gpuTypes: readonly string[]): Promise<void> {
  for (const type of gpuTypes) {
    const { paused = false } = await readPoolOverrides(store, type);
    await unlessClosed(client.workflow.getHandle(ids.pool(type)).signal(resizePool, { paused }));
  }
}

/**
 * The instances that are still paid for; one that is stopped may take a moment to close.
 * @param managers those of them that the list may lack
 */
export async function openInstances(client: Client, managers: readonly string[] = []): Promise<OpenInstance[]> {
  const found = new Map<string, OpenInstance>();
  const add = (gpuId: string, memo: unknown) => {
    const { gpu } = managerMemo.safeParse(memo).data ?? {};
    // Nobody can say of a manager without a memo that it launched nothing.
    if (gpu === undefined) found.set(gpuId, { gpuId, state: "launching", expiresAt: 0 });
    else if (gpu.state !== "stopped") found.set(gpuId, { gpuId, ...gpu });
  };
  const listed = new Set<string>();
  for await (const { workflowId, memo } of client.workflow.list({ query: MANAGERS })) {
    listed.add(workflowId);
    add(workflowId, memo);
  }
  for (const gpuId of managers.filter((manager) => !listed.has(manager))) {
    await unlessClosed(
      client.workflow
        .getHandle(gpuId)
        .describe()
        .then(({ status, memo }) => {
          if (status.name === "RUNNING") add(gpuId, memo);
        }),
    );
  }
  return [...found.values()];
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
