#!/usr/bin/env node
import { ApiError, createClient } from "../client/index.ts";
import { loadClientConfig } from "../config.ts";
import { readEnvFile } from "../envFile.ts";
import { fail } from "../processes.ts";
import { runCommand, USAGE, UsageError } from "./commands.ts";

/** The `c3-render` program: prints JSON; Ctrl-C ends a wait, not the job. */
async function main(): Promise<void> {
  readEnvFile();
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort());
  const client = createClient(loadClientConfig(process.env));
  const { output, ok } = await runCommand(client, process.argv.slice(2), interrupted.signal);
  console.log(JSON.stringify(output, null, 2));
  if (!ok) process.exitCode = 1;
}

main().catch((error) => {
  if (error instanceof UsageError) fail(`${error.message}\n\n${USAGE}`);
  if (error instanceof ApiError) fail(error.message);
  // What `fetch` throws says only that it failed.
  if (error instanceof TypeError && error.cause instanceof Error) fail(`${error.message}: ${error.cause.message}`);
  fail(error);
});
