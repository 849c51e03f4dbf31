import { createLogger, type Logger } from "../../src/log.ts";
import { installRuntime } from "../../src/workers/runtime.ts";

let installed: Logger | undefined;

/** The logger of the run; Temporal's SDK logs to it, which has to be said once and before any worker is made. */
export function testLog(): Logger {
  if (installed === undefined) {
    installed = createLogger(process.env.TEST_LOG === "info" ? "info" : "silent");
    installRuntime(installed);
  }
  return installed;
}
