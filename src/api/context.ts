import type { Client } from "@temporalio/client";
import type { RequestIdVariables } from "hono/request-id";
import type { Config } from "../config.ts";
import type { Logger } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { ObjectStore } from "../storage/objectStore.ts";

/** All that the routes need. */
export interface ApiDeps {
  config: Config;
  client: Client;
  store: ObjectStore;
  log: Logger;
  metrics: Metrics;
}

/** What the middleware tells the routes of a request. */
export interface ApiEnv {
  Variables: RequestIdVariables & {
    /** Whose jobs the caller submits; set where a key is needed. */
    tenant: string;
  };
}
