import { writeFile } from "node:fs/promises";
import { join } from "node:path";
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

/** A Temporal server that starts once, and not again: its program, which is put into `folder`. */
export async function startsOnce(folder: string): Promise<string> {
  const [program, used] = [join(folder, "temporal-once"), join(folder, "used")];
  const lines = ["#!/bin/sh", `[ -e ${used} ] && exit 3`, `touch ${used}`, `exec ${await temporalExecutable()} "$@"`];
  await writeFile(program, lines.join("\n"), { mode: 0o755 });
  return program;
}
