import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { createApp } from "../../src/api/app.ts";
import { createRateLimits } from "../../src/api/http/rateLimits.ts";
import { listen } from "../../src/api/server.ts";
import { type Config, loadConfig } from "../../src/config/index.ts";
import type { PoolReport, PoolStatus } from "../../src/gpus/types.ts";
import { createLogger, type Logger } from "../../src/process/log.ts";
import { createMetrics } from "../../src/process/metrics.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { writeJson } from "../../src/storage/jsonDocuments.ts";
import { keys } from "../../src/storage/keys.ts";
import type { ObjectStore } from "../../src/storage/objectStore.ts";
import { ensureNamespace } from "../../src/temporal/namespace.ts";
import { testTemporal } from "../support/temporal.ts";

export const KEY = "the-key-of-the-tests";

/** Tests ask more often than people. */
const noLimits = { RATE_LIMIT: "1000000" };

export interface TestApi {
  app: ReturnType<typeof createApp>;
  url: string;
  config: Config;
  /** `fetch` with the key and without following redirects. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** POSTs `body` as JSON; a string goes as it is. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  store: ObjectStore;
  /** What a process does first when it is told to stop. */
  drain(): void;
  close(): Promise<void>;
}

interface TestApiOptions {
  /** Without one: a client of a server that is not there. */
  client?: Client;
  env?: Record<string, string>;
  log?: Logger;
  /** What the API has instead of its store. */
  storeThrough?: (store: ObjectStore) => ObjectStore;
}

/** The API, really listening, on files in a folder of its own. */
export async function startTestApi({
  client,
  env = {},
  log = createLogger("silent"),
  storeThrough = (store) => store,
}: TestApiOptions = {}): Promise<TestApi> {
  const dir = await mkdtemp(join(tmpdir(), "c3-render-api-"));
  const config = loadConfig({
    HOST: "127.0.0.1",
    PORT: "0",
    C3_RENDER_API_KEY: KEY,
    STORAGE_DIR: dir,
    ...noLimits,
    ...env,
  });
  const absent = client === undefined ? unreachableClient() : undefined;
  const store = createObjectStore(config.storage, "");
  const limits = await createRateLimits(config.api, log);
  const draining = new AbortController();
  const stopping = new AbortController();
  const app = createApp({
    config,
    client: client ?? absent!,
    store: storeThrough(store),
    log,
    metrics: createMetrics(),
    limits,
    draining: draining.signal,
    stopping: stopping.signal,
  });
  const server = await listen(app, config.api, log);
  const api: TestApi = {
    app,
    url: server.url,
    config,
    store,
    drain: () => draining.abort(),
    fetch(path, init = {}) {
      const headers = new Headers(init.headers);
      if (!headers.has("Authorization")) headers.set("X-C3-RENDER-KEY", KEY);
      return fetch(`${server.url}${path}`, { redirect: "manual", ...init, headers });
    },
    post: (path, body, headers = {}) =>
      api.fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    async close() {
      stopping.abort();
      await server.close(1000);
      limits.close();
      await absent?.connection.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
  return api;
}

/** A client whose every call fails, because nothing listens there. */
function unreachableClient(): Client {
  return new Client({ connection: Connection.lazy({ address: "127.0.0.1:1" }) });
}

/** A client of the run's Temporal server, in a namespace of its own that is ready for jobs. */
export async function connectTestClient(): Promise<{ client: Client; address: string }> {
  const { address } = await testTemporal();
  const { temporal } = loadConfig({ TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: `api-${randomUUID()}` });
  await ensureNamespace(temporal);
  const connection = await Connection.connect({ address });
  return { client: new Client({ connection, namespace: temporal.namespace }), address };
}

/** What a pool says of itself, as its worker writes it. */
export async function report(
  { store }: Pick<TestApi, "store">,
  type: string,
  status: Partial<PoolStatus>,
): Promise<void> {
  const limits = { min: 0, max: 1 };
  const document: PoolReport = {
    at: Date.now(),
    status: { type, limits, paused: false, queue: [], gpus: [], ...status },
    waiting: [],
  };
  await writeJson(store, keys.poolReport(type), document);
}
