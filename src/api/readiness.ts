import { taskQueues } from "../temporal.ts";
import type { ApiDeps } from "./context.ts";
import { onceIn } from "./once.ts";
import { temporalCall } from "./temporalCall.ts";

const ANSWER_WITHIN_MS = 2000;
/** Anybody may ask without a key. */
const KEPT_FOR_MS = 1000;
/** A poll waits up to a minute for work, and the server names pollers for five: an older one is gone. */
const POLLER_SEEN_WITHIN_MS = 75_000;

/** `TaskQueueType` of the Temporal API. */
const WORKFLOWS = 1;
const ACTIVITIES = 2;

const neededPollers = [
  { queue: taskQueues.main, type: WORKFLOWS, what: "workflows" },
  { queue: taskQueues.main, type: ACTIVITIES, what: "activities" },
  { queue: taskQueues.gpu, type: ACTIVITIES, what: "activities" },
] as const;

/** @returns what is missing for jobs to be done, each a sentence; nothing when all is there */
export function createReadiness({ client, store, log }: ApiDeps): () => Promise<string[]> {
  /** `problem` unless `check` succeeds in time. */
  async function missing(problem: string, check: () => Promise<boolean>): Promise<string[]> {
    try {
      return (await withTimeout(check())) ? [] : [problem];
    } catch (error) {
      log.warn({ err: error }, problem);
      return [problem];
    }
  }

  const { namespace } = client.options;
  const reachable = () =>
    temporalCall(client, () => client.workflowService.describeNamespace({ namespace }), ANSWER_WITHIN_MS).then(
      () => true,
    );

  async function polled(queue: string, taskQueueType: number): Promise<boolean> {
    const describe = () =>
      client.workflowService.describeTaskQueue({ namespace, taskQueue: { name: queue }, taskQueueType });
    const { pollers } = await temporalCall(client, describe, ANSWER_WITHIN_MS);
    const since = Date.now() - POLLER_SEEN_WITHIN_MS;
    return pollers.some(({ lastAccessTime }) => Number(lastAccessTime?.seconds ?? 0) * 1000 > since);
  }

  async function look(): Promise<string[]> {
    const [temporal, storage] = await Promise.all([
      missing("Temporal cannot be reached", reachable),
      missing("the object store is not ready", () => store.ensureReady().then(() => true)),
    ]);
    const workers =
      temporal.length > 0
        ? []
        : await Promise.all(
            neededPollers.map(({ queue, type, what }) =>
              missing(`no worker polls the task queue ${queue} for ${what}`, () => polled(queue, type)),
            ),
          );
    return [...temporal, ...storage, ...workers.flat()];
  }

  const lookOnce = onceIn(KEPT_FOR_MS, look);
  return () => lookOnce("");
}

async function withTimeout<T>(promise: Promise<T>): Promise<T> {
  const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
  const timeout = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return await Promise.race([promise, timeout]);
}
