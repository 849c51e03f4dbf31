import { inspect } from "node:util";
import { type Config, ConfigError, ignoredVariables } from "./config.ts";
import type { Logger } from "./log.ts";

/** What the processes `npm run api` and `npm run worker` have in common. */

/**
 * A process that is started alone is meant for production: it neither falls back to simulated results nor to
 * files that only this process can see.
 * @throws ConfigError
 */
export function refuseHalfAStack(config: Config): void {
  const problems: string[] = [];
  if (config.gpu.provider === undefined) {
    problems.push(
      "C3_API_KEY: is needed to rent GPUs (or GPU_PROVIDER=simulator, with C3_API_URL of a running simulator)",
    );
  }
  if (config.storage.kind === "filesystem" && !config.storage.shared) {
    problems.push("STORAGE: files must be shared by API and workers: set MINIO_ENDPOINT, or STORAGE_SHARED=true");
  }
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Says once which variables of an older installation do nothing any more. */
export function warnOfIgnored(env: NodeJS.ProcessEnv, log: Logger): void {
  const names = ignoredVariables(env);
  if (names.length > 0) log.warn({ names }, "these variables are ignored: there is no Redis and no polling any more");
}

/** Ctrl-C, the end of a service, a terminal that is closed. */
const endSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs `stop` at the first signal to end, and `hurry` at the second one.
 * @returns a promise that ends when `stop` has
 */
export function stopOnSignal(
  stop: (signal: NodeJS.Signals) => Promise<void>,
  hurry: () => void = () => process.exit(1),
): Promise<void> {
  return new Promise((resolve, reject) => {
    const begin = (signal: NodeJS.Signals) => {
      for (const end of endSignals) process.off(end, begin).once(end, hurry);
      stop(signal).then(resolve, reject);
    };
    for (const end of endSignals) process.on(end, begin);
  });
}

/** Says why a process cannot go on, and ends it. A configuration's problems need no stack trace. */
export function fail(error: unknown): never {
  // Where Temporal's runtime is installed, the console is part of the log.
  process.stderr.write(`${error instanceof ConfigError ? error.message : inspect(error)}\n`);
  process.exit(1);
}
