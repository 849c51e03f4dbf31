import { log } from "@temporalio/activity";
import type { Client, WorkflowExecutionDescription } from "@temporalio/client";
import { WorkflowNotFoundError } from "@temporalio/common";
import { decodeArrayFromPayloads } from "@temporalio/common/lib/internal-non-workflow/index.js";
import type { Comput3, Workload } from "../clients/comput3.ts";
import type { Config } from "../config.ts";
import { placesOf, shareOut } from "../gpus/places.ts";
import type {
  Assignment,
  Census,
  ElsewhereReport,
  GpuView,
  LeaseRequest,
  PoolStatus,
  ProviderReport,
  ProviderTrouble,
} from "../gpus/types.ts";
import { truthOf } from "../jobs/ending.ts";
import { initialView, type JobView, type StoredJob } from "../jobs/job.ts";
import { isFinal } from "../jobs/states.ts";
import { isLatestRun } from "../latestRun.ts";
import type { Metrics } from "../metrics.ts";
import { writeJson } from "../storage/jsonDocuments.ts";
import { keys } from "../storage/keys.ts";
import type { ObjectStore } from "../storage/objectStore.ts";
import { readPoolOverrides } from "../storage/poolOverrides.ts";
import { timeLimit } from "../timeLimit.ts";
import type { gpuPool } from "../workflows/gpuPool.ts";
import type { Waiting } from "../workflows/jobRecord.ts";
import * as messages from "../workflows/messages.ts";
import { ids, taskQueues } from "../workflows/names.ts";
import type { RenderJobInput } from "../workflows/renderJob.ts";
import type { Retirement } from "../workflows/retireInstance.ts";
import { withHeartbeats } from "./heartbeats.ts";
import { type Provider, troubleOf } from "./provider.ts";
import type { createSignals } from "./signals.ts";
import { limitsOf, poolSettings, startRetirement } from "./starts.ts";

interface ReconcilerDeps {
  client: Client;
  comput3: Comput3;
  provider: Provider;
  config: Config;
  signals: ReturnType<typeof createSignals>;
  removeInputs: (input: { jobId: string }) => Promise<void>;
  keepRecord: (record: StoredJob) => Promise<void>;
  store: ObjectStore;
  metrics: Metrics;
}

/** By id, with what they wait for. */
type OpenJobs = Map<string, Waiting | undefined>;

/** What the provider runs; none of it, with the reason, when it did not say. */
interface Found {
  running: number;
  foreign: number;
  trouble?: ProviderTrouble | undefined;
}

/** A terminated job shows in the list a little after it was terminated. */
const LIST_LAG_MS = 60_000;
const QUERY_TIMEOUT_MS = 1000;
const WRITE_WITHIN_MS = 10_000;
/** A look takes a limited time, and a census has a limited size. */
const JOBS_PER_CENSUS = 1000;
const JOBS_AT_A_TIME = 10;
const endedByForce = "ExecutionStatus IN ('Terminated', 'TimedOut')";

export interface ReconcileReport {
  summary: string;
  /** How the provider was found, `{}` if well; absent where nothing is rented. */
  provider?: { trouble?: ProviderTrouble };
}

/**
 * One look at everything: what the provider runs, which managers, pools and jobs are open. Sees to
 * the end of instances whose manager has ended, tells each pool what it missed, and notifies the callers of terminated jobs.
 */
export function createReconcile({
  client,
  comput3,
  provider,
  config,
  signals,
  removeInputs,
  keepRecord,
  store,
  metrics,
}: ReconcilerDeps) {
  return {
    /** @param since epoch milliseconds of the last look */
    reconcile: ({ since }: { since: number }): Promise<ReconcileReport> => withHeartbeats(() => look(since)),
  };

  async function look(since: number): Promise<ReconcileReport> {
    const at = Date.now();
    const managers = await openManagers();
    const { jobs, queued } = await openJobs();
    // None waits for another: the provider may not answer, nor the object store.
    const [{ running, foreign, trouble: listTrouble }, notified, keyTrouble, pools] = await Promise.all([
      healInstances(new Set(managers.map((gpu) => gpu.gpuId))),
      notifyTerminated(since - LIST_LAG_MS),
      provider.check(),
      informPools(at, managers, jobs),
      settleEndedManagers(since - LIST_LAG_MS),
    ]);
    const trouble = keyTrouble ?? listTrouble;
    await tellOfProvider({ at, ...(trouble && { trouble }) }, pools);
    await reportElsewhere(at, queued, pools);
    metrics.seen({ gpus: managers, waiting: countsOf(jobs), openJobs: jobs.size, foreign });
    const summary = `${running} instances, ${managers.length} managers, ${jobs.size} open jobs, ${notified} terminated jobs notified`;
    return { summary, ...(config.gpu.provider !== "static" && { provider: { ...(trouble && { trouble }) } }) };
  }

  /** Those that know nothing against it need not be told that all is well. */
  async function tellOfProvider(found: ProviderReport, pools: readonly PoolStatus[]): Promise<void> {
    const concerned = pools.filter((pool) => found.trouble !== undefined || pool.provider !== undefined);
    for (const { type } of concerned) await provider.report(type, found);
  }

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

  async function openManagers(): Promise<GpuView[]> {
    const views: GpuView[] = [];
    const query = "WorkflowType = 'gpuManager' AND ExecutionStatus = 'Running'";
    for await (const { memo } of client.workflow.list({ query })) {
      if (isGpuView(memo?.gpu)) views.push(memo.gpu);
    }
    return views;
  }

  async function openJobs() {
    const jobs: OpenJobs = new Map();
    /** By id, with their tenants. */
    const queued = new Map<string, string>();
    const query = "WorkflowType = 'renderJob' AND ExecutionStatus = 'Running'";
    for await (const { memo, workflowId } of client.workflow.list({ query })) {
      jobs.set(jobIdOf(workflowId), isWaiting(memo?.waiting) ? memo.waiting : undefined);
      if (isJobView(memo?.view) && memo.view.state === "queued") queued.set(memo.view.id, memo.view.tenant);
    }
    return { jobs, queued };
  }

  async function healInstances(managed: ReadonlySet<string>): Promise<Found> {
    if (config.gpu.provider === "static") return { running: managed.size, foreign: 0 };
    let instances: Workload[];
    try {
      instances = await comput3.runningWorkloads();
    } catch (error) {
      log.warn("the provider's list could not be read", { error: String(error) });
      return { running: 0, foreign: 0, trouble: troubleOf(error) };
    }
    let foreign = 0;
    for (const instance of instances) {
      const gpuId = ids.gpu(instance.type, instance.expires);
      if (managed.has(gpuId)) continue;
      try {
        if (!(await healInstance(instance))) foreign += 1;
      } catch (error) {
        // The next look tries again; pools and jobs must not wait for it.
        log.error("an instance could not be healed", { gpuId, workload: instance.workload, error: String(error) });
      }
    }
    return { running: instances.length, foreign };
  }

  /** Stops an instance whose manager has ended. @returns false when no manager ever launched it */
  async function healInstance({ workload, node, type, created, expires }: Workload): Promise<boolean> {
    const gpuId = ids.gpu(type, expires);
    const manager = await describe(gpuId);
    if (manager === undefined) {
      log.warn("an instance that is not ours; it is left alone", { workload, node, type, expires });
      return false;
    }
    if (manager.status.name === "RUNNING") return true;
    const view = isGpuView(manager.memo?.gpu) ? manager.memo.gpu : undefined;
    await tellHolder(view?.lease);
    const usage = view?.usage;
    await retire({ gpuId, type, expires, instance: { workload, node, created }, ...(usage && { usage }) });
    return true;
  }

  async function tellHolder(lease: Assignment | undefined): Promise<void> {
    if (lease === undefined) return;
    const reason = "the manager of its GPU was ended";
    await signals.reportLoss({ ...lease, reason, nodeFault: false, at: Date.now() });
  }

  /** A manager that was ended in the middle of its instance's end has written nothing down. */
  async function settleEndedManagers(since: number): Promise<void> {
    const query = `WorkflowType = 'gpuManager' AND ${endedByForce} AND CloseTime > '${new Date(since).toISOString()}'`;
    for await (const run of client.workflow.list({ query })) {
      const { memo } = run;
      if (!isGpuView(memo?.gpu) || config.gpu.provider === "static") continue;
      const { gpuId, type, expiresAt, state, workload, node, usage, lease } = memo.gpu;
      if (state === "stopped" || workload === undefined || node === undefined || usage === undefined) continue;
      if (!(await isLatestRun(client, run))) continue;
      const instance = { workload, node, created: usage.paidFrom / 1000 };
      if (await retire({ gpuId, type, expires: expiresAt / 1000, instance, usage })) await tellHolder(lease);
    }
  }

  /** @returns whether this was the first time */
  async function retire(retirement: Retirement): Promise<boolean> {
    const { gpuId, instance } = retirement;
    const first = await startRetirement(client, retirement);
    if (!first) return false;
    log.warn("ending an instance whose manager had ended", { gpuId, ...instance });
    metrics.orphanStopped();
    return true;
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
    const description = await describe(ids.pool(type));
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
    const found = await Promise.all(missing.map(({ gpuId }) => describe(gpuId)));
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
      seen.push(...(await Promise.all(some.map(async (jobId) => ({ jobId, job: await describe(ids.job(jobId)) })))));
    }
    return seen;
  }

  async function notifyTerminated(since: number): Promise<number> {
    const query = `WorkflowType = 'renderJob' AND ${endedByForce} AND CloseTime > '${new Date(since).toISOString()}'`;
    let notified = 0;
    for await (const run of client.workflow.list({ query })) {
      if (!(await isLatestRun(client, run))) continue;
      const { workflowId, status, closeTime, memo } = run;
      const input = await inputOf(workflowId);
      if (input === undefined) {
        log.error("a terminated job cannot be read, so that its caller is not told", { workflowId });
        continue;
      }
      const { job } = input;
      await removeInputs({ jobId: job.id });
      const { id: jobId, tenant, notifyUrl: url, metadata, fingerprint } = job;
      const view = truthOf(isJobView(memo?.view) ? memo.view : initialView(job), status.name, closeTime);
      if (memo?.removed !== true) {
        await keepRecord({ view, ...(metadata && { metadata }), ...(fingerprint && { fingerprint }) });
      }
      const { state, error, files, outputPath } = view;
      if (url === undefined || !isFinal(state)) continue;
      const { started } = await signals.startWebhook({
        jobId,
        tenant,
        url,
        ending: { state, ...(error !== undefined && { error }) },
        ...(metadata && { metadata }),
        ...(state === "success" && { result: { files, ...(outputPath !== undefined && { outputPath }) } }),
      });
      if (!started) continue;
      metrics.jobTerminated();
      notified += 1;
    }
    return notified;
  }

  /** Undefined when it was encrypted with a key that is not here. */
  async function inputOf(workflowId: string): Promise<RenderJobInput | undefined> {
    const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
    const payloads = events?.[0]?.workflowExecutionStartedEventAttributes?.input?.payloads;
    const [input] = await decodeArrayFromPayloads(client.options.loadedDataConverter, payloads);
    return isRenderJobInput(input) ? input : undefined;
  }

  async function describe(workflowId: string): Promise<WorkflowExecutionDescription | undefined> {
    try {
      return await client.workflow.getHandle(workflowId).describe();
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  }
}

function countsOf(jobs: OpenJobs): Map<string, number> {
  const counts = new Map<string, number>();
  for (const wish of jobs.values()) {
    if (wish !== undefined) counts.set(wish.gpuType, (counts.get(wish.gpuType) ?? 0) + 1);
  }
  return counts;
}

function jobIdOf(workflowId: string): string {
  return workflowId.slice(ids.job("").length);
}

function isGpuView(value: unknown): value is GpuView {
  return typeof value === "object" && value !== null && "gpuId" in value;
}

function isJobView(value: unknown): value is JobView {
  return typeof value === "object" && value !== null && "state" in value;
}

function isWaiting(value: unknown): value is Waiting {
  return typeof value === "object" && value !== null && "gpuType" in value;
}

function isRenderJobInput(value: unknown): value is RenderJobInput {
  return typeof value === "object" && value !== null && "job" in value;
}
