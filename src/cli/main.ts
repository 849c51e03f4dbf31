#!/usr/bin/env node
import { ApiError, createClient } from "../client/index.ts";
import { loadClientConfig } from "../config.ts";
import { readEnvFile } from "../envFile.ts";
import { fail } from "../processes.ts";
import { watchStopSignals } from "../stopSignals.ts";
import { runCommand, USAGE, UsageError } from "./commands.ts";

/** The exit code of a shell for what SIGINT ended. */
const INTERRUPTED = 130;

/** The `c3-render` program: prints JSON; Ctrl-C ends a wait, not the job. */
async function main(): Promise<void> {
  readEnvFile();
  const interrupted = new AbortController();
  const leave = () => process.exit(INTERRUPTED);
  watchStopSignals({ stop: () => interrupted.abort(), leave });
  interrupted.signal.addEventListener("abort", () => {
    process.stderr.write("Interrupted; a job that was submitted goes on.\n");
    leave();
  });
  const client = createClient(loadClientConfig(process.env));
  const { output, ok } = await runCommand(client, process.argv.slice(2), interrupted.signal, sayRetry());
  console.log(JSON.stringify(output, null, 2));
  if (!ok) process.exitCode = 1;
}

/** Says why nothing happens, and not each time that it still does not. */
function sayRetry(): (error: unknown) => void {
  let said: string | undefined;
  return (error) => {
    const reason = reasonOf(error);
    if (reason !== said) process.stderr.write(`${reason}; trying again …\n`);
    said = reason;
  };
}

/** What `fetch` throws says only that it failed. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  if (!(cause instanceof Error)) return error.message;
  return `${error.message}: ${cause.message || ("code" in cause ? cause.code : cause.name)}`;
}

main().catch((error) => {
  if (error instanceof UsageError) fail(`${error.message}\n\n${USAGE}`);
  if (error instanceof ApiError) fail(error.message);
  if (error instanceof TypeError && error.cause instanceof Error) fail(reasonOf(error));
  fail(error);
});
