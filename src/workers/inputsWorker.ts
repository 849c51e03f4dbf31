import { setTimeout as delay } from "node:timers/promises";
import { Runtime, type Worker } from "@temporalio/worker";
import { messageOf } from "../lib/text.ts";
import type { Metrics } from "../process/metrics.ts";
import { probeWriting } from "../storage/writeProbe.ts";

interface Options {
  outputDir: string;
  create: () => Promise<Worker>;
  metrics: Metrics;
  /** Stops it. */
  signal: AbortSignal;
  /** Between two looks at the folder. */
  lookMs?: number;
}

const LOOK_MS = 5000;

/**
 * The worker that prepares inputs, for as long as it can write: one with a full disk would fail fast, and so take more than
 * its share. It stops polling then, and a new one takes its place once there is room.
 * @returns a promise that ends when it was stopped, and rejects when a worker fails
 */
export async function runInputsWorker(options: Options): Promise<void> {
  const { outputDir, create, metrics, signal, lookMs = LOOK_MS } = options;
  const { logger } = Runtime.instance();
  let running: { worker: Worker; ended: Promise<void> } | undefined;
  let known: string | undefined;
  while (!signal.aborted) {
    const trouble = await probeWriting(outputDir).then(() => undefined, messageOf);
    metrics.inputsPaused(trouble !== undefined);
    if (trouble !== undefined && trouble !== known) {
      logger.warn("nothing can be written in OUTPUT_DIR: this worker takes no inputs until something can", {
        reason: trouble,
      });
    }
    if (trouble === undefined && known !== undefined)
      logger.info("OUTPUT_DIR can be written in: inputs are taken again");
    known = trouble;
    if (trouble !== undefined) {
      await stop(running);
      running = undefined;
    } else if (running === undefined && !signal.aborted) {
      const worker = await create();
      running = { worker, ended: worker.run() };
    }
    const pause = delay(lookMs, undefined, { signal }).catch(() => signal.aborted);
    await Promise.race([pause, ...(running === undefined ? [] : [running.ended])]);
  }
  await stop(running);
}

async function stop(running: { worker: Worker; ended: Promise<void> } | undefined): Promise<void> {
  if (running?.worker.getState() === "RUNNING") running.worker.shutdown();
  await running?.ended;
}
