import type { Client } from "@temporalio/client";
import { startReconciler } from "../activities/messaging/starts.ts";
import type { Config } from "../config/index.ts";
import type { ProviderTrouble } from "../gpus/types.ts";
import { createMetrics, type Metrics } from "../process/metrics.ts";
import { connectClient } from "../temporal/connection.ts";
import { ensureNamespace } from "../temporal/namespace.ts";
import { type BuiltActivities, buildActivities } from "./activities.ts";
import { ensureSchedules } from "./schedule.ts";
import { onTaskFailure } from "./taskFailures.ts";
import { connectWorkers, type RunningWorkers, startWorkers, type WorkflowBundle } from "./workers.ts";

export interface RunningWorker extends RunningWorkers {
  /** What is wrong with the provider at the start: undefined if nothing is. It may take as long as a call of it may. */
  providerTrouble: Promise<ProviderTrouble | undefined>;
  client: Client;
}

/** A worker process, whole: namespace, activities, workers, reconciler. */
export async function startWorker(
  config: Config,
  workflowBundle: WorkflowBundle,
  env: NodeJS.ProcessEnv,
  metrics: Metrics = createMetrics(),
): Promise<RunningWorker> {
  await ensureNamespace(config.temporal);
  const client = await connectClient(config);
  try {
    const built = await buildActivities(config, client, env, metrics);
    return await startWith(client, config, workflowBundle, built, metrics);
  } catch (error) {
    await client.connection.close();
    throw error;
  }
}

async function startWith(
  client: Client,
  config: Config,
  workflowBundle: WorkflowBundle,
  built: BuiltActivities,
  metrics: Metrics,
) {
  const { activities, sinks, provider, close } = built;
  // Nothing waits for it: jobs are taken whatever it says.
  const providerTrouble = provider.check();
  providerTrouble.catch(() => {});
  const connection = await connectWorkers(config);
  const stopHearing = onTaskFailure(({ workflowType = "unknown" }) => metrics.workflowTaskFailed(workflowType));
  const workers = await startWorkers({ config, connection, activities, workflowBundle, sinks, metrics });
  await startReconciler(client, config);
  await ensureSchedules(client);
  return {
    finished: workers.finished,
    providerTrouble,
    client,
    async stop() {
      await workers.stop();
      stopHearing();
      await connection.close();
      await client.connection.close();
      await close();
    },
  };
}
