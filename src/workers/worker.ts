import type { Client } from "@temporalio/client";
import { startReconciler } from "../activities/starts.ts";
import type { Config } from "../config.ts";
import { createMetrics, type Metrics } from "../metrics.ts";
import { ensureNamespace } from "../namespace.ts";
import { connectClient } from "../temporal.ts";
import { type BuiltActivities, buildActivities } from "./activities.ts";
import { ensureSchedules } from "./schedule.ts";
import { connectWorkers, type RunningWorkers, startWorkers, type WorkflowBundle } from "./workers.ts";

/** A worker process, whole: namespace, activities, workers, reconciler. */
export async function startWorker(
  config: Config,
  workflowBundle: WorkflowBundle,
  env: NodeJS.ProcessEnv,
  metrics: Metrics = createMetrics(),
): Promise<RunningWorkers> {
  await ensureNamespace(config.temporal);
  const client = await connectClient(config);
  try {
    const built = await buildActivities(config, client, env, metrics);
    return await startWith(client, config, workflowBundle, built);
  } catch (error) {
    await client.connection.close();
    throw error;
  }
}

async function startWith(client: Client, config: Config, workflowBundle: WorkflowBundle, built: BuiltActivities) {
  const { activities, close } = built;
  const connection = await connectWorkers(config);
  const workers = await startWorkers({ config, connection, activities, workflowBundle });
  await startReconciler(client, config);
  await ensureSchedules(client);
  return {
    finished: workers.finished,
    async stop() {
      await workers.stop();
      await connection.close();
      await client.connection.close();
      await close();
    },
  };
}
