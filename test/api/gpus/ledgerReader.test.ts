import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { createLedgerReader } from "../../../src/api/gpus/ledgerReader.ts";
import { loadConfig } from "../../../src/config/index.ts";
import { createObjectStore } from "../../../src/storage/index.ts";
import { keys } from "../../../src/storage/keys.ts";
import type { ObjectStore } from "../../../src/storage/objectStore.ts";

const HOUR_MS = 3_600_000;

describe("the ledger, as the API reads it", () => {
  let folder: string;
  let store: ObjectStore;
  let reads: string[];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-ledger-"));
    const files = createObjectStore(loadConfig({ STORAGE_DIR: folder }).storage, "");
    const get: ObjectStore["get"] = (key, options) => {
      reads.push(key);
      return files.get(key, options);
    };
    store = { ...files, get };
  });
  beforeEach(() => {
    reads = [];
  });
  after(() => rm(folder, { recursive: true, force: true }));

  async function write(workload: string, stoppedAt: string, cost: number): Promise<string> {
    const key = keys.ledger(stoppedAt, workload);
    const body = Readable.from([JSON.stringify({ workload, stoppedAt, cost })]);
    await store.put(key, body, { contentType: "application/json" });
    return key;
  }

  it("has what was stopped since a time, the latest first, and reads each entry once, unless it was written again", async () => {
    const now = Date.now();
    const at = (hours: number) => new Date(now - hours * HOUR_MS).toISOString();
    const early = await write("early", at(20), 1);
    const late = await write("late", at(1), 2);
    await write("too early", at(25), 3);
    const readLedger = createLedgerReader(store);
    const costs = async () => (await readLedger(now - 24 * HOUR_MS)).map(({ workload, cost }) => [workload, cost]);

    assert.deepEqual(await costs(), [
      ["late", 2],
      ["early", 1],
    ]);
    assert.ok(reads.includes(early) && reads.includes(late), reads.join());
    reads = [];
    await costs();
    assert.deepEqual(reads, []);
    await write("early", at(20), 1.25);
    assert.deepEqual(await costs(), [
      ["late", 2],
      ["early", 1.25],
    ]);
    assert.deepEqual(reads, [early]);
  });
});
