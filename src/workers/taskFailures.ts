import type { InjectedSinks, LogMetadata } from "@temporalio/worker";
import { oneLine } from "../lib/text.ts";
import type { RunSinks } from "../workflows/interceptors.ts";

/**
 * A workflow task that failed: of a mistake in the code of the workflow, or of code that does not fit its history any more. The
 * workflow stands still, and the task is tried again, until there is a worker that can do it.
 */
export interface TaskFailure {
  runId: string;
  /** Unknown of a run that did not come as far as its code. */
  workflowId?: string;
  workflowType?: string;
  error: string;
}

/** Runs that are remembered; a worker has no more than some thousand in its cache. */
const MOST_RUNS = 20_000;
const runs = new Map<string, { workflowId: string; workflowType: string }>();
const listeners = new Set<(failure: TaskFailure) => void>();

/** The SDK's core knows runs by their id alone. */
export const runSinks: InjectedSinks<RunSinks> = {
  runs: {
    seen: {
      fn({ runId, workflowId, workflowType }) {
        runs.delete(runId);
        runs.set(runId, { workflowId, workflowType });
        const [oldest] = runs.keys();
        if (runs.size > MOST_RUNS && oldest !== undefined) runs.delete(oldest);
      },
      callDuringReplay: true,
    },
  },
};

/** Hears of workflow tasks that fail in this process. @returns stops it */
export function onTaskFailure(listener: (failure: TaskFailure) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** What a line of the SDK's log says of a workflow task that failed; undefined for every other line. */
export function taskFailureOf(message: string, { runId, failure }: LogMetadata): TaskFailure | undefined {
  if (message !== "Failing workflow task" || typeof runId !== "string") return undefined;
  // The core writes its own structure down, and has no other way to tell.
  const [, said = '"no reason given"'] = /message: ("(?:[^"\\]|\\.)*")/.exec(String(failure)) ?? [];
  const told: TaskFailure = { runId, ...runs.get(runId), error: oneLine(said.slice(1, -1)) };
  for (const listener of listeners) listener(told);
  return told;
}
