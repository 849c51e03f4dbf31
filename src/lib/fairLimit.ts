/** How much may be at work at one time, in all and for each of those that it is for. */
export interface FairLimit {
  /**
   * Does `work` when it may. Of what waits, that comes next of whose first key the least is at work.
   * @param keys whom it is for, and whatever else may not be used by too many at one time
   * @throws the signal's reason while it waits, and what `work` throws
   */
  run<T>(keys: readonly [string, ...string[]], work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Of what is at work or waits, how much is for `key`. */
  count(key: string): number;
}

interface Waiting {
  /** Whom it is for. */
  first: string;
  /** Each once, the first one among them. */
  keys: ReadonlySet<string>;
  start: () => void;
}

/** @param perKey of each key */
export function createFairLimit({ total = Infinity, perKey }: { total?: number; perKey: number }): FairLimit {
  const busy = new Map<string, number>();
  const waiting = new Set<Waiting>();
  let running = 0;

  const busyOf = (key: string) => busy.get(key) ?? 0;

  function change(keys: Iterable<string>, by: 1 | -1): void {
    running += by;
    for (const key of keys) {
      const count = busyOf(key) + by;
      if (count === 0) busy.delete(key);
      else busy.set(key, count);
    }
  }

  function startWhatMay(): void {
    while (running < total) {
      const next = [...waiting]
        .filter(({ keys }) => [...keys].every((key) => busyOf(key) < perKey))
        // The order of those that come equally soon is kept: the sort is stable.
        .sort((one, other) => busyOf(one.first) - busyOf(other.first))[0];
      if (next === undefined) return;
      waiting.delete(next);
      change(next.keys, 1);
      next.start();
    }
  }

  return {
    async run(given, work, signal) {
      signal?.throwIfAborted();
      const keys = new Set(given);
      await new Promise<void>((resolve, reject) => {
        const giveUp = () => {
          waiting.delete(entry);
          reject(signal?.reason);
        };
        const start = () => {
          signal?.removeEventListener("abort", giveUp);
          resolve();
        };
        const entry: Waiting = { first: given[0], keys, start };
        signal?.addEventListener("abort", giveUp, { once: true });
        waiting.add(entry);
        startWhatMay();
      });
      try {
        return await work();
      } finally {
        change(keys, -1);
        startWhatMay();
      }
    },
    count(key) {
      return busyOf(key) + [...waiting].filter(({ keys }) => keys.has(key)).length;
    },
  };
}
