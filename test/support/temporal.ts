import { findProgram } from "../../src/dev/binaries.ts";
import { temporalCli } from "../../src/dev/programs.ts";
import { startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { closeAfterAll } from "./hooks.ts";

let running: Promise<TemporalServer> | undefined;
const say = (line: string) => console.log(line);

/** Where the Temporal CLI is, wherever it had to be had from. */
export function temporalExecutable(): Promise<string> {
  return findProgram(temporalCli(process.env.TEMPORAL_CLI_PATH), process.env, say);
}

/** One Temporal server, in memory, for the whole run; started by the first test that needs it. */
export function testTemporal(): Promise<TemporalServer> {
  running ??= start();
  return running;
}

async function start(): Promise<TemporalServer> {
  const server = await startTemporalServer({ executable: await temporalExecutable(), port: 0, say });
  closeAfterAll(() => server.stop());
  return server;
}
