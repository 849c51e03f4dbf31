#!/usr/bin/env node
import { readEnvFile } from "../config/envFile.ts";
import { loadClientConfig } from "../config/index.ts";
import { watchStopSignals } from "../process/stopSignals.ts";
import { createClient } from "../sdk/index.ts";
import { exitCodes } from "./exitCodes.ts";
import { runProgram } from "./run.ts";

/** The `c3-render` program. Ctrl-C ends a wait, not the job; a second one ends it at once. */
const interrupted = new AbortController();
watchStopSignals({ stop: () => interrupted.abort(), leave: () => process.exit(exitCodes.interrupted) });

// Whoever reads it, such as `head`, may have had enough.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(process.exitCode ?? exitCodes.success);
  });
}

readEnvFile();
process.exitCode = await runProgram(process.argv.slice(2), {
  connect: () => createClient(loadClientConfig(process.env)),
  terminal: process,
  signal: interrupted.signal,
});
