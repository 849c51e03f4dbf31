import { setTimeout as delay } from "node:timers/promises";
import { Connection } from "@temporalio/client";

/** How a server is watched. */
export interface Supervision {
  everyMs: number;
  answerWithinMs: number;
}

/** Checks in a row that a server may fail. */
const MAX_UNANSWERED = 4;

/**
 * A process may live on while its database does not, so it is asked what it has to ask its database. On a machine that is
 * too busy a few of the questions are not answered in time.
 */
export async function untilSilent(address: string, checks: Supervision, signal: AbortSignal): Promise<string> {
  for (let unanswered = 0; unanswered < MAX_UNANSWERED && !signal.aborted; ) {
    await delay(checks.everyMs, undefined, { signal, ref: false }).catch(() => {});
    unanswered = signal.aborted || (await answers(address, checks)) ? 0 : unanswered + 1;
  }
  return "the Temporal server answers nothing any more";
}

/** By a connection of its own: one that failed before says nothing of the server as it is now. */
async function answers(address: string, { answerWithinMs }: Supervision): Promise<boolean> {
  const connection = Connection.lazy({ address });
  try {
    const ask = () => connection.workflowService.describeNamespace({ namespace: "default" });
    await connection.withDeadline(Date.now() + answerWithinMs, ask);
    return true;
  } catch {
    return false;
  } finally {
    await connection.close();
  }
}
