import { inspect } from "node:util";
import type { Config } from "../config/index.ts";
import { messageOf } from "../lib/text.ts";
import { watchStopSignals } from "../process/stopSignals.ts";
import type { Say } from "./binaries.ts";
import { type Embedded, startEmbedded } from "./embedded.ts";
import { type Leftover, type OpenInstance, openInstances } from "./instances.ts";

const ANSWER_WITHIN_MS = 2000;

/**
 * Brings everything up, does `work`, and takes everything down again: when the work is done or fails, when a worker or the
 * Temporal server fails, and at a signal, the second of which ends the process at once. It says what is still paid for then.
 * @param work is not waited for any more once its signal is aborted
 * @returns whether everything was done and taken down
 */
export async function runEmbedded(
  config: Config,
  say: Say,
  work: (stack: Embedded, signal: AbortSignal) => Promise<void>,
): Promise<boolean> {
  let stack: Embedded | undefined;
  const stopping = new AbortController();
  const stopped = new Promise<"stopped">((resolve) => {
    stopping.signal.addEventListener("abort", () => resolve("stopped"));
  });
  watchStopSignals({
    stop() {
      say("\nStopping … (once more to leave at once)");
      stopping.abort();
    },
    leave: () => void leaveAtOnce(stack, say),
  });
  const crashed = new Promise<never>((_, reject) => {
    process.on("uncaughtException", (error) => {
      // Once it is stopping nothing is more important than that it goes on with it.
      say(`Unexpected: ${inspect(error)}`);
      reject(error);
    });
  });
  crashed.catch(() => {});
  try {
    stack = await Promise.race([startEmbedded({ config, env: process.env, say, signal: stopping.signal }), crashed]);
  } catch (error) {
    if (!stopping.signal.aborted) throw error;
    say("Stopped before it had started.");
    return true;
  }
  const done = await Promise.race([work(stack, stopping.signal), stack.finished, stopped, crashed]).then(
    () => true,
    (error: unknown) => {
      say(`\nIt cannot go on: ${messageOf(error)}`);
      return false;
    },
  );
  const left = await stack.release();
  const isClean = left.instances.length === 0 && left.unknown === undefined;
  if (!isClean) say(leftoverNotice(stack, left));
  await stack.shutDown();
  say("Stopped.");
  return done && isClean;
}

/** Ends this process, and says what it leaves. Its Temporal server ends with it. */
async function leaveAtOnce(stack: Embedded | undefined, say: Say): Promise<void> {
  try {
    if (stack === undefined) return say("Left before it had started.");
    const { client } = stack;
    const instances = await client.withDeadline(Date.now() + ANSWER_WITHIN_MS, () => openInstances(client));
    say(instances.length === 0 ? "No instance is running." : leftoverNotice(stack, { instances }));
  } catch (error) {
    if (stack !== undefined) say(leftoverNotice(stack, { instances: [], unknown: messageOf(error) }));
  } finally {
    process.exit(1);
  }
}

/** What is left, by name, and what becomes of it. */
function leftoverNotice({ simulator, config }: Embedded, { instances, unknown }: Leftover): string {
  const paid =
    simulator !== undefined
      ? "simulated, so not paid for"
      : config.gpu.provider === "static"
        ? "of your own, so not paid for"
        : "still paid for";
  const lines = instances.map((instance) => `  ${describe(instance)}`);
  if (instances.length > 0) lines.unshift(`Left running (${paid}):`);
  if (unknown !== undefined) lines.push(`Whether instances are still paid for is not known: ${unknown}`);
  if (paid === "still paid for")
    lines.push("The next start stops or uses them; until then only the provider can end them.");
  return lines.join("\n");
}

function describe({ gpuId, state, node, workload, expiresAt }: OpenInstance): string {
  const where = node === undefined ? `${state}, it may run or not` : `${state}, on node ${node}, workload ${workload}`;
  return `${gpuId} (${where}); it ends by itself at ${new Date(expiresAt).toISOString()}`;
}
