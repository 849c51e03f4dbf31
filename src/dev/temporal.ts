import { resolve } from "node:path";
import { loadConfig } from "../config.ts";
import { fail, stopOnSignal } from "../processes.ts";
import { findProgram } from "./binaries.ts";
import { temporalCli } from "./programs.ts";
import { startTemporalServer, uiCodecEndpoint } from "./temporalServer.ts";

/** `npm run temporal`: the embedded Temporal server alone. */
async function main(): Promise<void> {
  const say = (line: string) => console.log(line);
  const config = loadConfig(process.env);
  const { embedded } = config;
  const executable = await findProgram(temporalCli(embedded.temporalCliPath), process.env, say);
  const server = await startTemporalServer({
    executable,
    dataDir: resolve(embedded.dataDir),
    port: embedded.temporalPort,
    uiPort: embedded.temporalUiPort,
    uiCodecEndpoint: uiCodecEndpoint(config),
    say,
  });
  say(`Temporal serves on ${server.address}; its Web UI on ${server.uiUrl}`);
  await stopOnSignal(() => server.stop());
}

main().catch(fail);
