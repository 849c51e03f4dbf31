import type { Client } from "@temporalio/client";
import { startReconciler } from "../activities/starts.ts";
import type { Config } from "../config.ts";
import { ensureNamespace } from "../namespace.ts";
import { connectClient } from "../temporal.ts";
import { buildActivities } from "./activities.ts";
import { ensureReconcilerSchedule } from "./schedule.ts";
import { connectWorkers, type RunningWorkers, startWorkers, type WorkflowBundle } from "./workers.ts";

/** A worker process, whole: namespace, activities, workers, reconciler. */
export async function startWorker(
  config: Config,
  workflowBundle: WorkflowBundle,
  env: NodeJS.ProcessEnv,
): Promise<RunningWorkers> {
  await ensureNamespace(config.temporal);
  const client = await connectClient(config);
  try {
    return await startWith(client, config, workflowBundle, env);
  } catch (error) {
    await client.connection.close();
    throw error;
  }
}

async function startWith(client: Client, config: Config, workflowBundle: WorkflowBundle, env: NodeJS.ProcessEnv) {
  const { activities, close } = await buildActivities(config, client, env);
  const connection = await connectWorkers(config);
  const workers = await startWorkers({ config, connection, activities, workflowBundle });
  await startReconciler(client, config);
  await ensureReconcilerSchedule(client);
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
