import { Runtime } from "@temporalio/worker";
import { createLogger, type Logger } from "../../src/process/log.ts";
import { installRuntime } from "../../src/workers/runtime.ts";
import { closeAfterAll } from "./hooks.ts";

let installed: Logger | undefined;

/** The logger of the run; Temporal's SDK logs to it, which has to be said once and before any worker is made. */
export function testLog(): Logger {
  if (installed === undefined) {
    installed = createLogger(process.env.TEST_LOG === "info" ? "info" : "silent");
    installRuntime(installed);
    // It ends with the last worker, and where there was none it would keep the process alive.
    closeAfterAll(async () => await Runtime.instance().shutdown());
  }
  return installed;
}
