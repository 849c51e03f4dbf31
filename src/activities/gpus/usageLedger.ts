import { Readable } from "node:stream";
import type { Stopped } from "../../clients/comput3.ts";
import type { EndedInstance } from "../../contracts/activityTypes.ts";
import type { GpuUsage, LedgerEntry } from "../../gpus/types.ts";
import { account, costOf } from "../../gpus/usage.ts";
import type { Metrics } from "../../process/metrics.ts";
import { keys } from "../../storage/keys.ts";
import type { ObjectStore } from "../../storage/objectStore.ts";

/** What was paid for, an object per instance; its sum is the provider's bill. */
export function createLedger(store: ObjectStore, metrics: Metrics) {
  return {
    /** Writing an entry again replaces it. */
    async write(entry: LedgerEntry): Promise<void> {
      const body = Readable.from([Buffer.from(JSON.stringify(entry))]);
      await store.put(keys.ledger(entry.stoppedAt, entry.workload), body, { contentType: "application/json" });
      metrics.instanceStopped(entry);
    },
  };
}

interface EntryInput {
  gpuId: string;
  type: string;
  instance: EndedInstance;
  /** Undefined for an instance that nobody used. */
  usage: GpuUsage | undefined;
  ratePerHour: number | undefined;
}

export function entryOf({ gpuId, type, instance, usage, ratePerHour }: EntryInput): LedgerEntry {
  const { workload, node, created, stoppedAt, refundAmount } = instance;
  const paidMs = Math.max(0, stoppedAt - created * 1000);
  const books = usage && account(usage, "idleMs", stoppedAt);
  const rate = usage?.ratePerHour ?? ratePerHour;
  const cost = costOf(paidMs, rate);
  return {
    workload,
    gpuId,
    type,
    node,
    paidFrom: new Date(created * 1000).toISOString(),
    stoppedAt: new Date(stoppedAt).toISOString(),
    paidSeconds: paidMs / 1000,
    bootSeconds: (books?.bootMs ?? 0) / 1000,
    busySeconds: (books?.busyMs ?? 0) / 1000,
    // Whatever was paid and is neither boot nor busy: also the seconds by which the clocks differ.
    idleSeconds: (paidMs - (books?.bootMs ?? 0) - (books?.busyMs ?? 0)) / 1000,
    jobs: usage?.jobs ?? 0,
    ...(rate !== undefined && { ratePerHour: rate }),
    ...(cost !== undefined && { cost }),
    ...(refundAmount !== undefined && { refundAmount }),
  };
}

/** The end of an instance as the provider tells it; older builds of it tell nothing. */
export function endOf(
  instance: Pick<EndedInstance, "workload" | "node" | "created">,
  { stopped, refundAmount }: Stopped,
): EndedInstance {
  const stoppedAt = stopped === undefined ? Date.now() : stopped * 1000;
  return { ...instance, stoppedAt, ...(refundAmount !== undefined && { refundAmount }) };
}
