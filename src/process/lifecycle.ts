import { inspect } from "node:util";
import { type Config, ConfigError } from "../config/index.ts";
import { replacedVariables } from "../config/replacedVariables.ts";
import type { Logger } from "./log.ts";
import { watchStopSignals } from "./stopSignals.ts";

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

/** Says which variables of an older installation do nothing any more, and what does their work. */
export function warnOfIgnored(env: NodeJS.ProcessEnv, log: Logger): void {
  for (const { name, instead } of replacedVariables(env))
    log.warn({ variable: name }, `${name} is ignored: ${instead}`);
}

/** Longer than any process lives; what matters is that it is there. */
const KEEP_ALIVE_MS = 2 ** 30;

/**
 * Runs `stop` at the first request to stop, and `leave` at the second one. The process lives until then, whatever else it does:
 * neither a listener for signals nor a detached child keeps it alive.
 * @returns a promise that ends when `stop` has
 */
export function stopOnSignal(
  stop: (signal: NodeJS.Signals) => Promise<void>,
  leave: () => void = () => process.exit(1),
): Promise<void> {
  const alive = setInterval(() => {}, KEEP_ALIVE_MS);
  return new Promise<void>((resolve, reject) => {
    watchStopSignals({ stop: (signal) => void stop(signal).then(resolve, reject), leave });
  }).finally(() => clearInterval(alive));
}

/** Says why a process cannot go on, and ends it. A configuration's problems need no stack trace. */
export function fail(error: unknown): never {
  // Where Temporal's runtime is installed, the console is part of the log.
  process.stderr.write(`${error instanceof ConfigError ? error.message : inspect(error)}\n`);
  process.exit(1);
}
