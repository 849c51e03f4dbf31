import type { Client } from "@temporalio/client";
import type { RequestIdVariables } from "hono/request-id";
import type { Config } from "../config/index.ts";
import type { Logger } from "../process/log.ts";
import type { Metrics } from "../process/metrics.ts";
import type { ObjectStore } from "../storage/objectStore.ts";
import type { RateLimits } from "./http/rateLimits.ts";

/** All that the routes need. */
export interface ApiDeps {
  config: Config;
  client: Client;
  store: ObjectStore;
  log: Logger;
  metrics: Metrics;
  limits: RateLimits;
  /** Aborts some time before `stopping`, where a balancer has to hear of it: not ready any more, but still answering. */
  draining?: AbortSignal;
  /** Aborts when the process stops: answers that wait for something come to an end. */
  stopping: AbortSignal;
}

/** Who asks. */
export interface Caller {
  /** Whose jobs the caller submits, and sees. */
  tenant: string;
  /** Sees the jobs of every tenant, and operates the service. */
  admin: boolean;
  /** The tenant's share of the GPUs, in relation to that of others; 1 when absent. */
  weight?: number;
  /** Submissions per minute; the common limit when absent. */
  rate?: number;
}

/** What the middleware tells the routes of a request. */
export interface ApiEnv {
  Variables: RequestIdVariables & {
    /** Set where a key is needed. */
    caller: Caller;
  };
}
