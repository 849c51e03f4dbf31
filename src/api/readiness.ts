import { taskQueues } from "../temporal.ts";
import { withinTime } from "../timeLimit.ts";
import type { ApiDeps } from "./context.ts";
import { onceIn } from "./once.ts";
import { temporalCall } from "./temporalCall.ts";
import { temporalTrouble } from "./temporalErrors.ts";

const ANSWER_WITHIN_MS = 1000;
/** Anybody may ask without a key. */
const KEPT_FOR_MS = 1000;
/** A poll waits up to a minute for work, and the server names pollers for five: an older one is gone. */
const POLLER_SEEN_WITHIN_MS = 75_000;

/** With `TaskQueueType` of the Temporal API. */
const neededPollers = [
  { queue: taskQueues.main, type: 1, what: "workflows" },
  { queue: taskQueues.main, type: 2, what: "activities" },
  { queue: taskQueues.gpu, type: 2, what: "activities" },
] as const;

class NobodyPolls extends Error {
  override name = "NobodyPolls";
}

/** @returns what is missing for jobs to be done, each a sentence; nothing when all is there */
export function createReadiness({ client, store, log, draining }: ApiDeps): () => Promise<string[]> {
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

  /** What is the matter when `check` rejects. */
  async function missing(problemOf: (error: unknown) => string, check: Promise<void>): Promise<string[]> {
    try {
      await check;
      return [];
    } catch (error) {
      const problem = problemOf(error);
      log.warn({ err: error }, problem);
      return [problem];
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
    return [...storage, ...(await Promise.all(pollers)).flat()];
  }

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
