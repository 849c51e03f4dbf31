import { log } from "@temporalio/activity";
import type { Client, WorkflowExecutionDescription } from "@temporalio/client";
import type { Config } from "../../../config/index.ts";
import { ids, taskQueues } from "../../../contracts/names.ts";
import * as messages from "../../../contracts/signals.ts";
import { placesOf, shareOut } from "../../../gpus/places.ts";
import type { Census, ElsewhereReport, GpuView, LeaseRequest, PoolStatus } from "../../../gpus/types.ts";
import { timeLimit } from "../../../lib/timeLimit.ts";
import { writeJson } from "../../../storage/jsonDocuments.ts";
import { keys } from "../../../storage/keys.ts";
import type { ObjectStore } from "../../../storage/objectStore.ts";
import { readPoolOverrides } from "../../../storage/poolOverrides.ts";
import type { gpuPool } from "../../../workflows/gpuPool.ts";
import { limitsOf, poolSettings } from "../../messaging/starts.ts";
import { describe, isGpuView, isWaiting, type OpenJobs } from "./listed.ts";

const QUERY_TIMEOUT_MS = 1000;
const WRITE_WITHIN_MS = 10_000;
/** A look takes a limited time, and a census has a limited size. */
const JOBS_PER_CENSUS = 1000;
const JOBS_AT_A_TIME = 10;

interface Deps {
  client: Client;
  config: Config;
  store: ObjectStore;
}

/** Tells each pool what it missed, and everybody who waits outside of the pools. */
export function createPoolInforming({ client, config, store }: Deps) {
  return { informPools, reportElsewhere };

  async function informPools(at: number, managers: GpuView[], jobs: OpenJobs): Promise<PoolStatus[]> {
    const types = new Set([...Object.keys(config.gpu.pools), ...managers.map((gpu) => gpu.type)]);
    const pools: PoolStatus[] = [];
    for (const type of types) {
      const pool = await poolStatus(type);
      if (pool !== undefined) pools.push(pool);
      const gpus = managers.filter((gpu) => gpu.type === type);
      await sendCensus(type, at, pool, [...gpus, ...(await unlistedManagers(pool, gpus))], jobs);
    }
    return pools;
  }

  async function sendCensus(
    type: string,
    at: number,
    pool: PoolStatus | undefined,
    gpus: GpuView[],
    jobs: OpenJobs,
  ): Promise<void> {
    const queued = (pool?.queue ?? []).map(({ jobId }) => jobId);
    const known = new Set([...queued, ...(pool?.gpus ?? []).flatMap((gpu) => gpu.lease?.jobId ?? [])]);
    const wishes = [...jobs.values()].flatMap((wish) => (wish?.gpuType === type ? wish.request : []));
    const places = placesOf(queued.flatMap((jobId) => jobs.get(jobId)?.request ?? []));
    // The list begins with the latest.
    const missing = wishes.filter(({ jobId }) => !known.has(jobId)).reverse();
    const missingJobs = await stillWaiting(shareOut(places, missing).map(({ jobId }) => jobId));
    const goneJobs = await closedJobs(queued.filter((jobId) => !jobs.has(jobId)));
    const { paused, ...overrides } = await readPoolOverrides(store, type);
    const limits = limitsOf(config.gpu.pools[type], overrides);
    const needed = gpus.length > 0 || missingJobs.length > 0 || (limits.min > 0 && !paused);
    if (pool === undefined) await store.remove([keys.poolReport(type)]);
    if (pool === undefined && !needed) return;
    const census: Census = {
      at,
      limits,
      gpus,
      missingJobs,
      goneJobs,
      ...(paused !== undefined && { paused }),
      ...(config.gpu.provider === "static" && { nodes: nodesOf(type) }),
    };
    await client.workflow.signalWithStart<typeof gpuPool, [Census]>("gpuPool", {
      workflowId: ids.pool(type),
      taskQueue: taskQueues.main,
      args: [{ type, settings: poolSettings(config, type) }],
      signal: messages.census,
      signalArgs: [census],
    });
  }

  /** For whoever admits jobs: those that no pool speaks of. */
  async function reportElsewhere(at: number, queued: ReadonlyMap<string, string>, pools: readonly PoolStatus[]) {
    const inOrder = new Set(pools.flatMap(({ queue }) => queue.map(({ jobId }) => jobId)));
    const others = [...queued].flatMap(([jobId, tenant]) => (inOrder.has(jobId) ? [] : { tenant }));
    const report: ElsewhereReport = { at, waiting: [...placesOf(others)] };
    try {
      await writeJson(store, keys.elsewhereReport, report, { signal: timeLimit(WRITE_WITHIN_MS) });
    } catch (error) {
      log.warn("the number of waiting jobs could not be written", { error: String(error) });
    }
  }

  function nodesOf(type: string): string[] {
    return config.gpu.nodes.filter((node) => node.type === type).map(({ name }) => name);
  }

  /** Undefined when there is no pool. One that does not answer is taken to know nothing: requests are idempotent. */
  async function poolStatus(type: string): Promise<PoolStatus | undefined> {
    const handle = client.workflow.getHandle(ids.pool(type));
    const description = await describe(client, ids.pool(type));
    if (description?.status.name !== "RUNNING") return undefined;
    try {
      return await client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () => handle.query(messages.poolStatus));
    } catch (error) {
      log.warn("the pool did not answer", { type, error: String(error) });
      return { type, limits: { min: 0, max: 0 }, paused: false, queue: [], gpus: [] };
    }
  }

  // Lists lag behind: what they seem to contradict is looked at again.

  /** Managers that the pool knows and the list does not have, but that run. */
  async function unlistedManagers(pool: PoolStatus | undefined, listed: readonly GpuView[]): Promise<GpuView[]> {
    const known = new Set(listed.map(({ gpuId }) => gpuId));
    const missing = (pool?.gpus ?? []).filter(({ gpuId }) => !known.has(gpuId));
    const found = await Promise.all(missing.map(({ gpuId }) => describe(client, gpuId)));
    return found.flatMap((manager) =>
      manager?.status.name === "RUNNING" && isGpuView(manager.memo?.gpu) ? manager.memo.gpu : [],
    );
  }

  async function stillWaiting(jobIds: readonly string[]): Promise<LeaseRequest[]> {
    const jobs = await lookAt(jobIds);
    return jobs.flatMap(({ job }) =>
      job?.status.name === "RUNNING" && isWaiting(job.memo?.waiting) ? job.memo.waiting.request : [],
    );
  }

  async function closedJobs(jobIds: readonly string[]): Promise<string[]> {
    const jobs = await lookAt(jobIds);
    return jobs.flatMap(({ jobId, job }) => (job?.status.name === "RUNNING" ? [] : jobId));
  }

  /** A bounded number of them: the next look sees to the rest. */
  async function lookAt(jobIds: readonly string[]) {
    const seen: { jobId: string; job: WorkflowExecutionDescription | undefined }[] = [];
    while (seen.length < Math.min(jobIds.length, JOBS_PER_CENSUS)) {
      const some = jobIds.slice(seen.length, seen.length + JOBS_AT_A_TIME);
      seen.push(
        ...(await Promise.all(some.map(async (jobId) => ({ jobId, job: await describe(client, ids.job(jobId)) })))),
      );
    }
    return seen;
  }
}
