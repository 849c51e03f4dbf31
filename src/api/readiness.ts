import { WorkflowNotFoundError } from "@temporalio/client";
import { troubleOfClock } from "../clockSkew.ts";
import { taskQueues } from "../temporal.ts";
import { withinTime } from "../timeLimit.ts";
import { ids } from "../workflows/names.ts";
import type { ApiDeps } from "./context.ts";
import { onceIn } from "./once.ts";
import { temporalCall } from "./temporalCall.ts";
import { temporalTrouble } from "./temporalErrors.ts";

const ANSWER_WITHIN_MS = 1000;
/** Anybody may ask without a key. */
const KEPT_FOR_MS = 1000;
/** A poll waits up to a minute for work, and the server names pollers for five: an older one is gone. */
const POLLER_SEEN_WITHIN_MS = 75_000;
/** What changes seldom, and costs more to find out. */
const SELDOM_MS = 15_000;
/** Of one workflow task: a worker that dies costs one or two. */
const MAX_TASK_ATTEMPTS = 3;

/** With `TaskQueueType` of the Temporal API. */
const neededPollers = [
  { queue: taskQueues.main, type: 1, what: "workflows" },
  { queue: taskQueues.main, type: 2, what: "activities" },
  { queue: taskQueues.gpu, type: 2, what: "activities" },
] as const;

class NobodyPolls extends Error {
  override name = "NobodyPolls";
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

  async function findPoller(queue: string, taskQueueType: number): Promise<void> {
    const describe = () =>
      client.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType });
    const { pollers } = await temporalCall(client, describe, ANSWER_WITHIN_MS);
    const since = Date.now() - POLLER_SEEN_WITHIN_MS;
    const lives = pollers.some(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1000 > since);
    if (!lives) throw new NobodyPolls(`the server knows ${pollers.length} pollers of ${queue}, all silent`);
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

  async function compareClocks(): Promise<void> {
    const trouble = await troubleOfClock(client, ANSWER_WITHIN_MS, now);
    if (trouble !== undefined) throw new ClocksDiffer(trouble);
  }

  async function lookSeldom(): Promise<string[]> {
    const endless = [ids.reconciler, ...Object.keys(config.gpu.pools).map(ids.pool)];
    const troubles = await Promise.all([
      missing((error) => (error instanceof ClocksDiffer ? error.message : undefined), compareClocks()),
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
    const pollers = neededPollers.map(({ queue, type, what }) =>
      missing(
        (error) =>
          error instanceof NobodyPolls
            ? `no worker polls the task queue ${queue} for ${what}`
            : `it is not known whether a worker polls the task queue ${queue} for ${what}`,
        findPoller(queue, type),
      ),
    );
    return [...storage, ...(await Promise.all([...pollers, seldom("")])).flat()];
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
