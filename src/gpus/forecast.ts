import type { WaitingJob } from "./order.ts";
import type { PoolGpu, PoolState } from "./pool.ts";

/** When a GPU is expected to take its next job. */
export interface Slot {
  at: number;
  /** What it does now. */
  state: "idle" | "leased" | "launching";
}

export interface Start {
  at: number;
  /** What the GPU does now. */
  slot: Slot["state"];
}

/**
 * GPUs, those that may take another job, by when they are free. An old one that is idle while jobs wait does not
 * live long enough for them, and will soon be replaced.
 * @param busy how long those that were just assigned will be busy
 */
export function slotsOf(
  pool: PoolState,
  now: number,
  lifetimeMs: number,
  busy: ReadonlyMap<string, number> = new Map(),
): Slot[] {
  return pool.gpus.flatMap((gpu): Slot | Slot[] => {
    const assigned = busy.get(gpu.gpuId);
    if (assigned !== undefined) return { at: now + assigned, state: "leased" };
    switch (gpu.state) {
      case "idle":
        return gpu.expiresAt < now + lifetimeMs / 2 ? [] : { at: now, state: "idle" };
      case "leased":
        return { at: now + remainingMs(gpu.expectedMs ?? 0, now - gpu.since), state: "leased" };
      case "launching":
      case "starting":
        return { at: now + remainingMs(pool.learnt.launch.ms, now - gpu.startedAt), state: "launching" };
      default:
        return [];
    }
  });
}

/** What takes longer than was expected is likely to take longer yet: a quarter of the time so far. */
function remainingMs(expectedMs: number, elapsedMs: number): number {
  return Math.max(expectedMs - elapsedMs, Math.max(expectedMs, elapsedMs) / 4, 0);
}

/** Plays the service of waiting jobs, one after another, on GPUs by the times at which they are free. */
export class Forecast {
  /** A binary heap: the GPU that is free first is at the front. */
  readonly #heap: Slot[] = [];

  constructor(slots: readonly Slot[]) {
    for (const slot of slots) this.add(slot);
  }

  /** When the next job would start; undefined without GPUs. */
  get next(): Slot | undefined {
    return this.#heap[0];
  }

  add(slot: Slot): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || above.at <= slot.at) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = slot;
  }

  /** Gives the GPU that is free first to a job. */
  serve({ expectedMs }: WaitingJob): Start | undefined {
    const first = this.#heap[0];
    if (first === undefined) return undefined;
    this.#replaceFirst({ at: first.at + expectedMs, state: first.state });
    return { at: first.at, slot: first.state };
  }

  #replaceFirst(slot: Slot): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      if (left === undefined) break;
      const right = heap[2 * at + 2];
      const [child, index] = right !== undefined && right.at < left.at ? [right, 2 * at + 2] : [left, 2 * at + 1];
      if (child.at >= slot.at) break;
      heap[at] = child;
      at = index;
    }
    heap[at] = slot;
  }
}

export function isUsable(gpu: PoolGpu): boolean {
  return gpu.state === "idle" || gpu.state === "leased" || gpu.state === "launching" || gpu.state === "starting";
}
