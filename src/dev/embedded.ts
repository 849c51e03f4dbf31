import { resolve } from "node:path";
import type { Config } from "../config.ts";
import { createLogger, createTerminalLogger, type Logger } from "../log.ts";
import { warnOfIgnored } from "../processes.ts";
import { createObjectStore } from "../storage/index.ts";
import { installRuntime } from "../workers/runtime.ts";
import { bundleWorkflows } from "../workers/workers.ts";
import { findProgram, type Say } from "./binaries.ts";
import { releaseInstances, resumePools } from "./instances.ts";
import { temporalCli } from "./programs.ts";
import { type Stack, startStack } from "./stack.ts";
import { freePort, startTemporalServer, type TemporalServer, uiCodecEndpoint } from "./temporalServer.ts";

/** Everything on this machine: what `npm start` and `npm run demo` bring up. */
export interface Embedded extends Stack {
  /** The Web UI of Temporal, when the server is ours. */
  temporalUiUrl: string | undefined;
  /** Stops the instances, then everything else. */
  shutDown(): Promise<void>;
}

export interface EmbeddedOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  say: Say;
}

export async function startEmbedded({ config: wanted, env, say }: EmbeddedOptions): Promise<Embedded> {
  const log = process.stdout.isTTY ? createTerminalLogger(wanted.logLevel) : createLogger(wanted.logLevel);
  installRuntime(log);
  warnOfIgnored(env, log);
  const api = { ...wanted.api, port: await freePort(wanted.api.port, "the API", say) };
  const config = { ...wanted, api };
  const server = config.temporal.address === undefined ? await ownServer(config, env, say) : undefined;
  try {
    return await startOn(server, { config, env, say }, log);
  } catch (error) {
    await server?.stop();
    throw error;
  }
}

async function startOn(server: TemporalServer | undefined, { config, env, say }: EmbeddedOptions, log: Logger) {
  const { address = server?.address, uiOrigin = server?.uiUrl } = config.temporal;
  const temporal = { ...config.temporal, address, uiOrigin };
  const simulator = { ...config.simulator, port: await freePort(config.simulator.port, "the simulator", say) };
  const workflowBundle = await bundleWorkflows(temporal.payloadKeys.length > 0);
  const stack = await startStack({ config: { ...config, temporal, simulator }, log, workflowBundle, env });
  await resumePools(stack.client, createObjectStore(config.storage, ""), Object.keys(config.gpu.pools));
  return {
    ...stack,
    temporalUiUrl: server?.uiUrl,
    async shutDown() {
      await releaseInstances(stack.client, say);
      await stack.stop();
      await server?.stop();
    },
  };
}

async function ownServer(config: Config, env: NodeJS.ProcessEnv, say: Say): Promise<TemporalServer> {
  const { embedded } = config;
  const executable = await findProgram(temporalCli(embedded.temporalCliPath), env, say);
  return await startTemporalServer({
    executable,
    dataDir: resolve(embedded.dataDir),
    port: embedded.temporalPort,
    uiPort: embedded.temporalUiPort,
    uiCodecEndpoint: uiCodecEndpoint(config),
    say,
  });
}
