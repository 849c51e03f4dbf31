import { WorkflowNotFoundError } from "@temporalio/client";
import { ids } from "../../contracts/names.ts";
import { withinTime } from "../../lib/timeLimit.ts";
import { troubleOfClock } from "../../temporal/clockSkew.ts";
import { taskQueues } from "../../temporal/connection.ts";
import type { ApiDeps } from "../context.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { temporalTrouble } from "../http/temporalErrors.ts";
import { onceIn } from "../http/ttlCache.ts";
import { readVersions, type WorkerVersions } from "./versions.ts";

const ANSWER_WITHIN_MS = 1000;
/** Anybody may ask without a key. */
const KEPT_FOR_MS = 1000;
/** A poll waits up to a minute for work, and the server names pollers for five: an older one is gone. */
const POLLER_SEEN_WITHIN_MS = 75_000;
/** What changes seldom, and costs more to find out. */
const SELDOM_MS = 15_000;
const JOBS_LOOKED_AT = 5;
const NEW_JOB_MS = 10_000;
const JOBS_STAND_STILL =
  "jobs stand still: a workflow task of theirs fails again and again, as it does when workers have code that does not fit them";
/** Of one workflow task: a worker that dies costs one or two. */
const MAX_TASK_ATTEMPTS = 3;

/** With `TaskQueueType` of the Temporal API. */
const neededPollers = [
  { queue: taskQueues.main, type: 1, what: "workflows" },
  { queue: taskQueues.main, type: 2, what: "activities" },
  { queue: taskQueues.gpu, type: 2, what: "activities" },
] as const;

/** With `WorkerVersioningMode` of the Temporal API. */
const VERSIONED = 2;

class NobodyPolls extends Error {
  override name = "NobodyPolls";
}

/** Workers poll, and Temporal gives them nothing: its message says why. */
class WrongVersion extends Error {
  override name = "WrongVersion";
}

class StandsStill extends Error {
  override name = "StandsStill";
}

class ClocksDiffer extends Error {
  override name = "ClocksDiffer";
}

/**
 * @param now what this machine takes for the time, in milliseconds
 * @returns what is missing for jobs to be done, each a sentence; nothing when all is there
 */
export function createReadiness(
  { config, client, store, log, draining }: Pick<ApiDeps, "config" | "client" | "store" | "log" | "draining">,
  now = Date.now,
): () => Promise<string[]> {
  const { namespace } = client.options;

  async function reachTemporal(): Promise<void> {
    await temporalCall(client, () => client.workflowService.describeNamespace({ namespace }), ANSWER_WITHIN_MS);
  }

  /** @param versions that workers have announced: the current one gets all that is new, and others nothing of that */
  async function findPoller(queue: string, taskQueueType: number, versions?: WorkerVersions): Promise<void> {
    const describe = () =>
      client.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType });
    const { pollers } = await temporalCall(client, describe, ANSWER_WITHIN_MS);
    const since = Date.now() - POLLER_SEEN_WITHIN_MS;
    const living = pollers.filter(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1000 > since);
    if (living.length === 0)
      throw new NobodyPolls(`the server knows ${pollers.length} pollers of ${queue}, all silent`);
    const announced = living.map(({ deploymentOptions: of }) =>
      of?.workerVersioningMode === VERSIONED ? (of.buildId ?? "") : undefined,
    );
    if (!announced.includes(versions?.current)) {
      throw new WrongVersion(
        versions?.current === undefined
          ? "no version of the workers is current, so they get nothing: c3-render versions makes one current"
          : `no worker of the current version ${versions.current} polls the task queue ${queue}`,
      );
    }
    for (const { id, status } of versions?.versions ?? []) {
      if (status === "draining" && !announced.includes(id))
        throw new WrongVersion(`jobs that began on version ${id} stand still: none of its workers is left`);
    }
  }

  /** Without these workflows no job gets a GPU. One that is not there is started when it is needed. */
  async function findProgress(workflowId: string): Promise<void> {
    const describe = () => client.workflow.getHandle(workflowId).describe();
    const found = await temporalCall(client, describe, ANSWER_WITHIN_MS).catch((error: unknown) => {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    });
    const attempt = found?.raw.pendingWorkflowTask?.attempt ?? 0;
    if (attempt >= MAX_TASK_ATTEMPTS) throw new StandsStill(`its workflow task was tried ${attempt} times`);
  }

  /** Workers whose code does not fit the jobs that run stop nearly all of them: a few that are no longer new show it. */
  async function findJobsProgress(): Promise<void> {
    const before = new Date(now() - NEW_JOB_MS).toISOString();
    const query = `WorkflowType = 'renderJob' AND ExecutionStatus = 'Running' AND StartTime < '${before}'`;
    const request = { namespace, query, pageSize: JOBS_LOOKED_AT };
    const list = () => client.workflowService.listWorkflowExecutions(request);
    const { executions } = await temporalCall(client, list, ANSWER_WITHIN_MS);
    await Promise.all((executions ?? []).map(({ execution }) => findProgress(execution?.workflowId ?? "")));
  }

  async function compareClocks(): Promise<void> {
    const trouble = await troubleOfClock(client, ANSWER_WITHIN_MS, now);
    if (trouble !== undefined) throw new ClocksDiffer(trouble);
  }

  async function lookSeldom(): Promise<string[]> {
    const endless = [ids.reconciler, ...Object.keys(config.gpu.pools).map(ids.pool)];
    const troubles = await Promise.all([
      missing((error) => (error instanceof ClocksDiffer ? error.message : undefined), compareClocks()),
      missing((error) => (error instanceof StandsStill ? JOBS_STAND_STILL : undefined), findJobsProgress()),
      ...endless.map((id) =>
        missing(
          (error) => (error instanceof StandsStill ? `the workflow ${id} fails again and again` : undefined),
          findProgress(id),
        ),
      ),
    ]);
    return troubles.flat();
  }

  /** What is the matter when `check` rejects. */
  async function missing(problemOf: (error: unknown) => string | undefined, check: Promise<void>): Promise<string[]> {
    try {
      await check;
      return [];
    } catch (error) {
      const problem = problemOf(error);
      log.warn({ err: error }, problem ?? "it is not known whether all is well");
      return problem === undefined ? [] : [problem];
    }
  }

  async function look(): Promise<string[]> {
    const [temporal, storage] = await Promise.all([
      missing(troubleOfTemporal, reachTemporal()),
      missing(() => "the object store is not ready", withinTime(store.ensureReady(), ANSWER_WITHIN_MS)),
    ]);
    if (temporal.length > 0) return [...temporal, ...storage];
    const versions = readVersions(client, ANSWER_WITHIN_MS);
    const pollers = neededPollers.map(({ queue, type, what }) =>
      missing(
        (error) => {
          if (error instanceof WrongVersion) return error.message;
          return error instanceof NobodyPolls
            ? `no worker polls the task queue ${queue} for ${what}`
            : `it is not known whether a worker polls the task queue ${queue} for ${what}`;
        },
        versions.then((known) => findPoller(queue, type, known)),
      ),
    );
    const problems = (await Promise.all([...pollers, seldom("")])).flat();
    return [...storage, ...new Set(problems)];
  }

  const seldom = onceIn(SELDOM_MS, lookSeldom);

  const lookOnce = onceIn(KEPT_FOR_MS, look);
  return async () => (draining?.aborted ? ["the API is stopping"] : await lookOnce(""));
}

function troubleOfTemporal(error: unknown): string {
  switch (temporalTrouble(error)?.code) {
    case "temporal_namespace_missing":
      return "the namespace in Temporal is missing";
    case "temporal_refused":
      return "Temporal does not accept the credentials";
    case "temporal_overloaded":
      return "Temporal has too much to do";
    default:
      return "Temporal cannot be reached";
  }
}
