import { format } from "node:util";
import { DefaultLogger, type LogLevel, Runtime } from "@temporalio/worker";
import type { Logger } from "../process/log.ts";
import { taskFailureOf } from "./taskFailures.ts";

const levels: Record<LogLevel, "trace" | "debug" | "info" | "warn" | "error"> = {
  TRACE: "trace",
  DEBUG: "debug",
  INFO: "info",
  WARN: "warn",
  ERROR: "error",
};

/** The SDK's own steps, such as a change of a worker's state, and what it says of a worker without workflows. */
function isDetail(level: LogLevel, message: string, component: unknown): boolean {
  return (level === "INFO" && component === "worker") || message.startsWith("No workflows registered");
}

/** Of what the SDK adds to every line, these help a reader; the task token does not. */
const kept = ["workflowId", "workflowType", "activityType", "attempt", "taskQueue"];

/**
 * Sends everything that Temporal's SDK logs to `log`, and what libraries print to the console, such as the
 * Gradio client's account of each failure. Must come before anything else of the SDK.
 */
export function installRuntime(log: Logger): void {
  const print = (...parts: unknown[]) => log.warn({ component: "console" }, format(...parts));
  console.warn = print;
  console.error = print;
  const logger = new DefaultLogger("INFO", ({ level, message, meta = {} }) => {
    const failed = taskFailureOf(message, meta);
    if (failed !== undefined) {
      log.error(failed, "a workflow task failed: its workflow stands still until a worker can do it");
      return;
    }
    const { sdkComponent, ...rest } = meta;
    const fields = Object.entries(rest)
      .filter(([name]) => !sdkFields.has(name) || kept.includes(name))
      .map(([name, value]) => [name, value instanceof Error ? value.message : value] as const);
    const to = isDetail(level, message, sdkComponent) ? "debug" : levels[level];
    log[to]({ component: sdkComponent, ...Object.fromEntries(fields) }, message);
  });
  Runtime.install({
    logger,
    telemetryOptions: { logging: { forward: {}, filter: "temporalio_sdk_core=WARN,temporalio_client=WARN" } },
    shutdownSignals: [],
  });
}

const sdkFields = new Set([
  "namespace",
  "taskQueue",
  "workflowId",
  "runId",
  "workflowType",
  "activityId",
  "activityType",
  "attempt",
  "isLocal",
  "taskToken",
]);
