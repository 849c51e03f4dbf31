import { readEnvFile } from "../config/envFile.ts";
import { loadConfig } from "../config/index.ts";
import { fail, stopOnSignal } from "../process/lifecycle.ts";
import type { Say } from "./binaries.ts";
import { startOwnTemporal } from "./ownTemporal.ts";
import type { TemporalServer } from "./temporalServer.ts";

/** `npm run temporal`: the embedded Temporal server alone, until a signal. */
async function main(): Promise<void> {
  readEnvFile();
  const say = (line: string) => console.log(line);
  const config = loadConfig(process.env);
  const stopping = new AbortController();
  const starting = startOwnTemporal({ config, env: process.env, say, signal: stopping.signal });
  const stopped = stopOnSignal(async () => {
    say("\nStopping … (once more to leave at once)");
    stopping.abort();
    // A start that was given up leaves nothing to be stopped.
    const server = await starting.catch(() => undefined);
    await server?.stop();
    say("Stopped.");
  });
  await Promise.race([stopped, untilItFails(starting, say, stopping.signal)]);
  process.exit();
}

/** Rejects when the server does not start, or ends by itself. */
async function untilItFails(starting: Promise<TemporalServer>, say: Say, signal: AbortSignal): Promise<void> {
  try {
    const { address, uiUrl, ended } = await starting;
    say(`Temporal serves on ${address}; its Web UI on ${uiUrl}. Ctrl-C ends it.`);
    throw new Error(await ended);
  } catch (error) {
    if (!signal.aborted) throw error;
    // Whoever stops it knows.
    await new Promise(() => {});
  }
}

main().catch(fail);
