import { startTemporalServer, type TemporalServer } from "../../src/dev/temporalServer.ts";
import { closeAfterAll } from "./hooks.ts";
import { temporalExecutable } from "./programs.ts";

let running: Promise<TemporalServer> | undefined;

/** One Temporal server, in memory, for the whole run; started by the first test that needs it. */
export function testTemporal(): Promise<TemporalServer> {
  running ??= start();
  return running;
}

async function start(): Promise<TemporalServer> {
  const say = (line: string) => console.log(line);
  const server = await startTemporalServer({ executable: await temporalExecutable(), port: 0, say });
  closeAfterAll(() => server.stop());
  return server;
}
