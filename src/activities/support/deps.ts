import type { Client } from "@temporalio/client";
import type { Comput3 } from "../../clients/comput3.ts";
import type { ModalFunction } from "../../clients/modal.ts";
import type { Config } from "../../config/index.ts";
import type { MediaTools } from "../../media/ffmpeg.ts";
import type { SafeFetch } from "../../net/safeFetch.ts";
import type { Metrics } from "../../process/metrics.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";
import type { Provider } from "../gpus/provider.ts";

/** What the activities work with; put together by the worker, and by tests. */
export interface ActivityDeps {
  config: Config;
  client: Client;
  comput3: Comput3;
  provider: Provider;
  store: ObjectStore;
  safeFetch: SafeFetch;
  media: MediaTools;
  metrics: Metrics;
  /** undefined: there are no lip-sync jobs. */
  modal: ModalFunction | undefined;
}
