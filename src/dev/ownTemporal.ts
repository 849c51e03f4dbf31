import { resolve } from "node:path";
import type { Config } from "../config/index.ts";
import { findProgram, type Say } from "./binaries.ts";
import { temporalCli } from "./programs.ts";
import { startTemporalServer, type TemporalServer, uiCodecEndpoint } from "./temporalServer.ts";

export interface OwnTemporalOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  say: Say;
  /** Gives up finding the program, which may have to be built first. */
  signal: AbortSignal;
}

/** Finds the Temporal CLI and starts its server, as configured for the embedded stack. */
export async function startOwnTemporal({ config, env, say, signal }: OwnTemporalOptions): Promise<TemporalServer> {
  const { embedded } = config;
  const executable = await findProgram(temporalCli(embedded.temporalCliPath), env, say, signal);
  signal.throwIfAborted();
  return await startTemporalServer({
    executable,
    dataDir: resolve(embedded.dataDir),
    supervision: { everyMs: 5000, answerWithinMs: 5000 },
    port: embedded.temporalPort,
    uiPort: embedded.temporalUiPort,
    uiCodecEndpoint: uiCodecEndpoint(config),
    say,
  });
}
