import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { type ComfyEvent, ComfyRefused, type ComfyUi, ComfyUnreachable, type Graph } from "./comfyui.ts";
import type { HistoryEntry, OutputFile } from "./comfyuiHistory.ts";
import { ModelAborted, ModelFailure, type OnProgress, reasonOf } from "./modelCall.ts";

export interface PromptRun {
  graph: Graph;
  /** A canonical lower-case UUID; the same one for every attempt at this run. Older servers make their own. */
  promptId: string;
  /** What the output file's name starts with, or holds. No other run has it, so the run is known by it, too. */
  filePrefix: string;
  /** Whether a video is whole: a ComfyUI that was killed leaves half of one. @throws when it cannot be read to its end */
  isWhole(video: Readable): Promise<boolean>;
  /** Between two looks while no event comes. */
  pollMs: number;
  /** How long a server may not answer. */
  patienceMs: number;
  /** How long an interrupted run may take to end. */
  settleMs: number;
  onProgress: OnProgress;
  signal: AbortSignal;
}

type Found = { kind: "absent" } | { kind: "queued"; ahead: number } | { kind: "ended"; entry: HistoryEntry };

const RETRY_MS = 1000;
const SETTLE_LOOK_MS = 250;
/** A node that says nothing for so long while a run is to be ended is given up: it may be gone. */
const SETTLE_SILENCE_MS = 5000;
/** A server that restarts forgets its queue; then the run is submitted once more. */
const MAX_SUBMISSIONS = 2;
/** Each run that was killed has left a file with a number that the next one does not take. */
const MOST_FILES = 5;

/**
 * Runs a graph and waits for its video. What an earlier attempt submitted is looked for first, in the history, in
 * the queue and among the output files, so that a caller that died and comes again never renders twice.
 *
 * The server's events only make it look earlier: what it says when it is asked is what counts.
 *
 * @throws ModelFailure, ModelAborted
 */
export async function runPrompt(comfy: ComfyUi, run: PromptRun): Promise<OutputFile> {
  const events = listen(comfy, run);
  try {
    return await untilVideo(comfy, run, events);
  } catch (error) {
    if (run.signal.aborted) throw new ModelAborted(await endRun(comfy, run), { cause: error });
    if (error instanceof ComfyRefused) throw new ModelFailure("failed", error.message, { cause: error });
    throw error;
  } finally {
    events.close();
  }
}

async function untilVideo(comfy: ComfyUi, run: PromptRun, events: Events): Promise<OutputFile> {
  let submissions = 0;
  let silentSince: number | undefined;
  for (;;) {
    run.signal.throwIfAborted();
    try {
      const found = await find(comfy, run);
      if (found.kind === "ended") return videoOf(found.entry, run);
      if (found.kind === "queued") {
        if (found.ahead > 0) run.onProgress(null, `waiting in the node's queue, ${found.ahead} before it`);
      } else {
        const finished = await finishedFile(comfy, run);
        if (finished !== undefined) return finished;
        if (submissions === MAX_SUBMISSIONS) throw new ModelFailure("failed", "ComfyUI lost the run, twice");
        await comfy.submit(run.graph, run.promptId, run.promptId);
        submissions += 1;
      }
      silentSince = undefined;
      await events.next(run.pollMs);
    } catch (error) {
      if (!(error instanceof ComfyUnreachable)) throw error;
      silentSince ??= performance.now();
      if (performance.now() - silentSince > run.patienceMs) {
        throw new ModelFailure("transport", error.message, { cause: error });
      }
      run.onProgress(null, "waiting for ComfyUI to answer");
      await delay(RETRY_MS, undefined, { signal: run.signal });
    }
  }
}

async function find(comfy: ComfyUi, run: PromptRun): Promise<Found> {
  const entry = await comfy.history(run.promptId);
  if (entry !== undefined) return { kind: "ended", entry };
  const { running, pending } = await comfy.queue();
  if (running.some(isOurs(run))) return { kind: "queued", ahead: 0 };
  const index = pending.findIndex(isOurs(run));
  if (index !== -1) return { kind: "queued", ahead: running.length + index };
  // It may have ended between the two looks, or under an id of the server's own.
  const ended = (await comfy.recentHistory()).find(isOurs(run));
  return ended === undefined ? { kind: "absent" } : { kind: "ended", entry: ended };
}

function isOurs({ promptId, filePrefix }: PromptRun) {
  // An operator's graph may put a folder before it, or more behind it.
  return ({ id, graph }: { id: string; graph: unknown }) =>
    id === promptId || (JSON.stringify(graph) ?? "").includes(filePrefix);
}

function videoOf({ state, error, files }: HistoryEntry, { filePrefix }: PromptRun): OutputFile {
  switch (state) {
    case "success": {
      const video = files.find(({ filename }) => filename.includes(filePrefix));
      if (video === undefined) throw new ModelFailure("failed", "ComfyUI ended without a video");
      return video;
    }
    case "failed":
      throw new ModelFailure("failed", error ?? "ComfyUI failed without a reason");
    case "interrupted":
      throw new ModelFailure("failed", "the run was interrupted on the node");
    default:
      return state satisfies never;
  }
}

/** A server that restarted has forgotten the run, and kept its file; half of it, if it was just being written. */
async function finishedFile(
  comfy: ComfyUi,
  { filePrefix, isWhole, signal }: PromptRun,
): Promise<OutputFile | undefined> {
  for (let number = 1; number <= MOST_FILES; number += 1) {
    const filename = `${filePrefix}_${String(number).padStart(5, "0")}-audio.mp4`;
    const file = { filename, subfolder: "", type: "output" };
    const video = await comfy.openOutput(file, signal);
    if (video !== undefined && (await isWhole(video).catch(unreadable))) return file;
  }
  return undefined;
}

function unreadable(error: unknown): never {
  throw new ComfyUnreachable(`ComfyUI /view broke off: ${reasonOf(error)}`, { cause: error });
}

/**
 * Ends the run: takes it out of the queue, or interrupts it if it is what runs, until neither is seen.
 * @returns whether it was seen to have ended
 */
async function endRun(comfy: ComfyUi, run: PromptRun): Promise<boolean> {
  const deadline = performance.now() + run.settleMs;
  let heardAt = performance.now();
  while (performance.now() < Math.min(deadline, heardAt + SETTLE_SILENCE_MS)) {
    try {
      const { running, pending } = await comfy.queue();
      heardAt = performance.now();
      const waits = pending.find(isOurs(run));
      const runs = running.find(isOurs(run));
      if (waits === undefined && runs === undefined) return true;
      if (waits !== undefined) await comfy.deleteFromQueue(waits.id);
      if (runs !== undefined) await comfy.interrupt(runs.id);
    } catch (error) {
      // Not seen to have ended: that is what is reported if it stays so.
      if (!(error instanceof ComfyUnreachable)) throw error;
    }
    await delay(SETTLE_LOOK_MS);
  }
  return false;
}

interface Events {
  /** Resolves when something ended, after `ms` at the latest, or when the run is given up. */
  next(ms: number): Promise<void>;
  close(): void;
}

function listen(comfy: ComfyUi, { promptId, onProgress, signal }: PromptRun): Events {
  let listener: { close(): void } | undefined = comfy.listen(promptId, hear);
  /** Something ended since the last look. */
  let ended = false;
  let wake = () => {};

  function hear(event: ComfyEvent): void {
    switch (event.kind) {
      case "progress":
        onProgress(event.value / event.max, `step ${event.value} of ${event.max}`);
        break;
      case "ended":
        ended = true;
        wake();
        break;
      case "closed":
        listener = undefined;
        break;
      default:
        event satisfies never;
    }
  }

  return {
    async next(ms) {
      listener ??= comfy.listen(promptId, hear);
      if (!ended && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
          signal.addEventListener("abort", wake, { once: true });
        });
        signal.removeEventListener("abort", wake);
      }
      ended = false;
    },
    close: () => listener?.close(),
  };
}
