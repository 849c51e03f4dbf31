import type { Client } from "@temporalio/client";
import { createProvider, type Provider } from "../activities/gpus/provider.ts";
import { createActivities } from "../activities/index.ts";
import { sweepTempFolders } from "../activities/inputs/tempFolder.ts";
import { checkPortraitGraph } from "../activities/models/sonicGraph.ts";
import { createComput3 } from "../clients/comput3.ts";
import { createModalFunction } from "../clients/modal.ts";
import { type Config, ownOrigin } from "../config/index.ts";
import { createMediaTools } from "../media/ffmpeg.ts";
import { createSafeFetch } from "../net/safeFetch.ts";
import type { Metrics } from "../process/metrics.ts";
import { createObjectStore } from "../storage/index.ts";
import { createPoolReports } from "./poolReports.ts";

export interface BuiltActivities {
  activities: ReturnType<typeof createActivities>;
  sinks: ReturnType<typeof createPoolReports>["sinks"];
  provider: Provider;
  close(): Promise<void>;
}

/** The activities of a worker process, over the real services. */
export async function buildActivities(
  config: Config,
  client: Client,
  env: NodeJS.ProcessEnv,
  metrics: Metrics,
): Promise<BuiltActivities> {
  const { apiUrl, apiKey = "", timeoutMs } = config.comput3;
  const safeFetch = createSafeFetch(config);
  const store = createObjectStore(config.storage, config.api.publicUrl ?? ownOrigin(config.api));
  await store.ensureReady();
  await sweepTempFolders(config);
  await checkPortraitGraph(config.portrait);
  const comput3 = createComput3({ apiUrl, apiKey, timeoutMs });
  const provider = createProvider({ client, comput3, config, metrics });
  const activities = createActivities({
    config,
    client,
    comput3,
    provider,
    store,
    safeFetch,
    media: await createMediaTools(config, env, (message) => console.warn(message)),
    metrics,
    modal: config.modal && createModalFunction(config.modal),
  });
  const reports = createPoolReports(store);
  return {
    activities,
    sinks: reports.sinks,
    provider,
    async close() {
      await reports.close();
      await safeFetch.close();
    },
  };
}
