import type { Client } from "@temporalio/client";
import { z } from "zod";
import { ids } from "../src/contracts/names.ts";
import type { LedgerEntry } from "../src/gpus/types.ts";
import type { JobView } from "../src/jobs/job.ts";
import type { JobState } from "../src/jobs/states.ts";
import type { Instance } from "../src/simulator/control/world.ts";
import type { Simulator } from "../src/simulator/simulator.ts";
import type { ObjectStore } from "../src/storage/objectStore.ts";
import type { SubmittedJob } from "./chaosJobs.ts";
import type { Delivery } from "./chaosServers.ts";

/** A job as its workflow's history tells it. */
export interface JobFact {
  id: string;
  kind: string;
  /** Of the workflow: `COMPLETED`, `FAILED`, `CANCELLED` … */
  status: string;
  executions: number;
  /** As its memo shows it; so are the next three. */
  state: JobState;
  error: string | undefined;
  /** GPUs that it got. */
  attempts: number;
  files: string[];
  /** Every state that its memo showed, one after the other, without repetitions. */
  states: string[];
  /** How often a call of the function on Modal was tried. */
  modalStarts: number;
  /** Files of the result that the store does not have as they were recorded. */
  missing: string[];
  /** Of the workflow that tells its caller; undefined when there is none. */
  webhook: string | undefined;
}

export interface ManagerFact {
  gpuId: string;
  status: string;
  /** Epoch milliseconds. */
  closedAt: number | undefined;
}

/** A run of a model, in the words that the drill compares. */
export interface RenderFact {
  node: string;
  model: string;
  /** What the run is for: the lease of a portrait, the job of a lip-sync. */
  key: string;
  startedAt: number;
  finishedAt: number | undefined;
  outcome: string | undefined;
}

/** All that is known after a drill. */
export interface ChaosFacts {
  seed: number;
  seconds: number;
  submitted: SubmittedJob[];
  /** What was done to the system, and how often. */
  troubles: Record<string, number>;
  /** What was to be done to it at least once. */
  plannedTroubles: string[];
  jobs: JobFact[];
  managers: ManagerFact[];
  instances: Instance[];
  /** Of the provider's control API while there was trouble, and how many of them a fault hit. */
  controlCalls: { made: number; hit: number };
  /** By node: when a model was last called on it, epoch milliseconds. */
  lastUse: Map<string, number>;
  renders: RenderFact[];
  deliveries: Delivery[];
  ledger: LedgerEntry[];
  /** Objects that should have been removed. */
  leftInputs: string[];
  /** What did not end in time after the troubles had ended, and workers that ended by themselves. */
  unsettled: string[];
  settledAfterSeconds: number;
  maxGpus: Record<string, number>;
  instanceBoundSeconds: number;
}

const AT_ONCE = 16;
const view = z.custom<JobView>((value) => z.object({ id: z.string(), state: z.string() }).safeParse(value).success);
const ledgerEntry = z.custom<LedgerEntry>((value) => z.object({ workload: z.string() }).safeParse(value).success);

/** Reads what every job's history says; jobs that nobody has the id of are found, too. */
export async function jobFacts(client: Client, store: ObjectStore): Promise<JobFact[]> {
  const runs = new Map<string, number>();
  for await (const { workflowId } of client.workflow.list({ query: "WorkflowType = 'renderJob'" })) {
    runs.set(workflowId, (runs.get(workflowId) ?? 0) + 1);
  }
  return await mapAll([...runs], async ([workflowId, executions]) => {
    const id = workflowId.slice(ids.job("").length);
    const handle = client.workflow.getHandle(workflowId);
    const { status, memo } = await handle.describe();
    const last = view.parse(memo?.view);
    const { states, modalStarts } = await readHistory(client, workflowId);
    const missing: string[] = [];
    const { type: kind, state, error, attempts } = last;
    const files = last.files.map(({ key }) => key);
    for (const { key, bytes } of state === "success" ? last.files : []) {
      const found = await store.head(key);
      if (found === undefined || found.bytes !== bytes || bytes === 0) missing.push(key);
    }
    const webhook = await statusOf(client, ids.webhook(id));
    const told = { kind, state, error, attempts, files };
    return { id, ...told, status: status.name, executions, states, modalStarts, missing, webhook };
  });
}

async function readHistory(client: Client, workflowId: string) {
  const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
  const states: string[] = [];
  const modalStarts = new Set<string>();
  let attempts = 0;
  for (const event of events ?? []) {
    const payload = event.workflowPropertiesModifiedEventAttributes?.upsertedMemo?.fields?.view;
    if (payload?.data) {
      const { state } = view.parse(JSON.parse(Buffer.from(payload.data).toString()));
      if (states.at(-1) !== state) states.push(state);
    }
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (scheduled?.activityType?.name === "startLipsync") modalStarts.add(String(event.eventId));
    const started = event.activityTaskStartedEventAttributes;
    if (started && modalStarts.has(String(started.scheduledEventId))) attempts += started.attempt ?? 1;
  }
  return { states, modalStarts: attempts };
}

async function statusOf(client: Client, workflowId: string): Promise<string | undefined> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name;
  } catch {
    return undefined;
  }
}

export async function managerFacts(client: Client): Promise<ManagerFact[]> {
  const found: ManagerFact[] = [];
  for await (const { workflowId, status, closeTime } of client.workflow.list({
    query: "WorkflowType = 'gpuManager'",
  })) {
    found.push({ gpuId: workflowId, status: status.name, closedAt: closeTime?.getTime() });
  }
  return found;
}

export async function ledgerFacts(store: ObjectStore): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  for await (const { key } of store.list("ledger/")) {
    const { body } = await store.get(key);
    entries.push(ledgerEntry.parse(JSON.parse(Buffer.concat(await body.toArray()).toString())));
  }
  return entries;
}

export async function keysBelow(store: ObjectStore, prefix: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list(prefix)) found.push(key);
  return found;
}

/** The file that ComfyUI is told to write names job and lease; Modal is told the job. */
const portraitFile = /Video_[0-9a-f-]{36}_[0-9a-f]{8}/;

export function renderFacts(simulator: Simulator): RenderFact[] {
  return simulator.renders().map((render) => {
    const { node, kind: model, startedAt, finishedAt, outcome } = render;
    const inputs = JSON.stringify(render.arguments);
    const key = model === "portrait" ? portraitFile.exec(inputs)?.[0] : render.arguments.job_id;
    return { node, model, key: typeof key === "string" ? key : render.id, startedAt, finishedAt, outcome };
  });
}

/** Until the last fault: afterwards none is made. */
export function controlCalls(simulator: Simulator): { made: number; hit: number } {
  const calls = simulator.calls().filter(({ service }) => service === "comput3");
  const last = calls.findLastIndex(({ fault }) => fault !== undefined);
  return { made: last + 1, hit: calls.filter(({ fault }) => fault !== undefined).length };
}

/** When each node was last asked for more than a sign of life. */
export function lastUses(simulator: Simulator): Map<string, number> {
  const uses = new Map<string, number>();
  for (const { service, node, at } of simulator.calls()) {
    if (service !== "node" && node !== undefined) uses.set(node, Math.max(at, uses.get(node) ?? 0));
  }
  for (const { node, finishedAt = 0 } of simulator.renders()) uses.set(node, Math.max(finishedAt, uses.get(node) ?? 0));
  return uses;
}

async function mapAll<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) results.push(await work(item));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}
