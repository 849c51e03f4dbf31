import type { Config } from "../config/index.ts";
import { warnOfIgnored } from "../process/lifecycle.ts";
import { createLogger, createTerminalLogger, type Logger } from "../process/log.ts";
import { createObjectStore } from "../storage/index.ts";
import { installRuntime } from "../workers/runtime.ts";
import { bundleWorkflows } from "../workers/workers.ts";
import type { Say } from "./binaries.ts";
import { type Leftover, releaseInstances, resumePools } from "./instances.ts";
import { startOwnTemporal } from "./ownTemporal.ts";
import { type Stack, startStack } from "./stack.ts";
import { freePort, type TemporalServer } from "./temporalServer.ts";

/** Everything on this machine: what `npm start` and `npm run demo` bring up. */
export interface Embedded extends Stack {
  /** The Web UI of Temporal, when the server is ours. */
  temporalUiUrl: string | undefined;
  /** Rejects when a worker fails, or the Temporal server ends. */
  finished: Promise<void>;
  /** Stops the instances, for as long as `STOP_TIMEOUT` says. @returns those that are not stopped */
  release(): Promise<Leftover>;
  /** Stops everything else. */
  shutDown(): Promise<void>;
}

export interface EmbeddedOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  say: Say;
  /** Gives the start up while it has begun nothing that is paid for. */
  signal: AbortSignal;
}

/** Workers have handed their activities over by then, unless Temporal does not answer. */
const STACK_STOPS_WITHIN_MS = 30_000;

export async function startEmbedded({ config: wanted, env, say, signal }: EmbeddedOptions): Promise<Embedded> {
  const log = process.stdout.isTTY ? createTerminalLogger(wanted.logLevel) : createLogger(wanted.logLevel);
  installRuntime(log);
  warnOfIgnored(env, log);
  const api = { ...wanted.api, port: await freePort(wanted.api.port, "the API", say) };
  const config = { ...wanted, api };
  const options = { config, env, say, signal };
  const server = config.temporal.address === undefined ? await startOwnTemporal(options) : undefined;
  try {
    return await startOn(server, options, log);
  } catch (error) {
    await server?.stop();
    throw error;
  }
}

async function startOn(
  server: TemporalServer | undefined,
  { config, env, say, signal }: EmbeddedOptions,
  log: Logger,
): Promise<Embedded> {
  const { address = server?.address, uiOrigin = server?.uiUrl } = config.temporal;
  const temporal = { ...config.temporal, address, uiOrigin };
  const simulator = { ...config.simulator, port: await freePort(config.simulator.port, "the simulator", say) };
  const workflowBundle = await bundleWorkflows(temporal.payloadKeys.length > 0);
  signal.throwIfAborted();
  // From here on the start is not given up: once there are workers, jobs of an earlier run may ask for instances.
  const stack = await startStack({ config: { ...config, temporal, simulator }, log, workflowBundle, env });
  let lostServer: string | undefined;
  const serverEnded = server?.ended.then((how) => {
    lostServer = how;
    throw new Error(how);
  });
  const finished = Promise.race([stack.finished, ...(serverEnded === undefined ? [] : [serverEnded])]);
  finished.catch(() => {});
  const embedded: Embedded = {
    ...stack,
    finished,
    temporalUiUrl: server?.uiUrl,
    async release() {
      if (lostServer !== undefined) return { instances: [], unknown: lostServer };
      return await releaseInstances(stack.client, say, config.embedded.stopTimeoutMs);
    },
    async shutDown() {
      if (!(await isDoneWithin(STACK_STOPS_WITHIN_MS, stack.stop()))) say("Not everything could be stopped in order.");
      await server?.stop();
    },
  };
  try {
    await resumePools(stack.client, createObjectStore(config.storage, ""), Object.keys(config.gpu.pools));
    return embedded;
  } catch (error) {
    await embedded.shutDown();
    throw error;
  }
}

async function isDoneWithin(ms: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true as const), late]);
  } finally {
    clearTimeout(timer);
  }
}
