import type { LedgerEntry } from "../../gpus/types.ts";
import { keys } from "../../storage/keys.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";

const DAY_MS = 86_400_000;

/**
 * What instances cost that were stopped since a time (epoch milliseconds), the latest first. What was read is kept
 * until its day is not asked for any more: people look every few seconds, and a busy day has thousands of entries.
 */
export function createLedgerReader(store: ObjectStore): (since: number) => Promise<LedgerEntry[]> {
  let known = new Map<string, { version: string; entry: LedgerEntry }>();

  async function read(key: string): Promise<LedgerEntry> {
    const { body } = await store.get(key);
    return JSON.parse(Buffer.concat(await body.toArray()).toString());
  }

  return async (since) => {
    const found: typeof known = new Map();
    for (let day = since; day < Date.now() + DAY_MS; day += DAY_MS) {
      for await (const { key, bytes, lastModified } of store.list(
        keys.ledgerOf(new Date(day).toISOString().slice(0, 10)),
      )) {
        const version = `${lastModified.getTime()} ${bytes}`;
        const before = known.get(key);
        found.set(key, before?.version === version ? before : { version, entry: await read(key) });
      }
    }
    known = found;
    const entries = [...found.values()].map(({ entry }) => entry);
    return entries
      .filter(({ stoppedAt }) => Date.parse(stoppedAt) >= since)
      .sort((a, b) => b.stoppedAt.localeCompare(a.stoppedAt));
  };
}
