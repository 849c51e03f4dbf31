import { log, proxyLocalActivities, setCurrentDetails, upsertMemo } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { Assignment, GpuChange, GpuView, Lease } from "../gpus/types.ts";
import { account } from "../gpus/usage.ts";
import { failureSentence } from "./failures.ts";

const signals = proxyLocalActivities<Activities>({
  startToCloseTimeout: "5s",
  scheduleToCloseTimeout: "15s",
  retry: { initialInterval: "100ms", maximumInterval: "2s" },
});

/** What the world is told of an instance: its memo, its log, its details in the Web UI, and its pool. */
export interface InstanceRecord {
  readonly view: GpuView;
  /** Records a change and tells the pool, also which lease ended by it. */
  change(next: Partial<GpuView>, ended?: Pick<GpuChange, "released" | "refused" | "servedSeconds">): Promise<void>;
  /** Accounts for the time up to `at` (epoch milliseconds). @returns how many milliseconds that was */
  account(use: "bootMs" | "busyMs" | "idleMs", at: number): number;
  /** Records a lease and grants it; false when its job is gone, undefined when that is not known. */
  lend(assignment: Assignment): Promise<boolean | undefined>;
  /** Tells the holder that its GPU is gone. */
  tellHolder(lease: Assignment, loss: { reason: string; nodeFault: boolean; at: number }): Promise<void>;
  carried(): CarriedRecord;
}

/** What a record hands over to the next run of its workflow. */
export interface CarriedRecord {
  view: GpuView;
  sequence: number;
}

/** @param expires epoch seconds */
export function createInstanceRecord(
  { gpuId, type, expires }: { gpuId: string; type: string; expires: number },
  carried?: CarriedRecord,
): InstanceRecord {
  const now = Date.now();
  const launching = { gpuId, type, state: "launching", since: now, startedAt: now, expiresAt: expires * 1000 } as const;
  let view: GpuView = carried?.view ?? launching;
  let sequence = carried?.sequence ?? 0;
  if (carried === undefined) show();

  function show(): void {
    upsertMemo({ gpu: view });
    setCurrentDetails(describe(view));
    log.info("instance changed", { ...view });
  }

  /** The time in which nobody held the instance, until now, is charged to the next lease. */
  function charge(grantedAt: number): Lease["before"] {
    const { usage } = view;
    if (usage === undefined) return { bootMs: 0, idleMs: 0 };
    const charged = account(usage, "idleMs", grantedAt);
    view = { ...view, usage: { ...charged, jobs: charged.jobs + 1 } };
    return { bootMs: usage.jobs === 0 ? usage.bootMs : 0, idleMs: charged.idleMs - usage.idleMs };
  }

  return {
    get view() {
      return view;
    },
    async change(next, ended = {}) {
      const moved = next.state !== undefined && next.state !== view.state;
      view = { ...view, ...next, ...(moved && { since: Date.now() }) };
      if (ended.released !== undefined) delete view.lease;
      sequence += 1;
      show();
      await deliver("gpuChanged", signals.reportGpu({ change: { ...view, ...ended, sequence } }));
    },
    account(use, at) {
      const { usage } = view;
      if (usage === undefined) return 0;
      const accounted = account(usage, use, at);
      view = { ...view, usage: accounted };
      return accounted[use] - usage[use];
    },
    async lend(lease) {
      const grantedAt = Date.now();
      const before = charge(grantedAt);
      view = { ...view, state: "leased", since: grantedAt, lease };
      show();
      const { node = "", expiresAt, usage } = view;
      const rate = usage?.ratePerHour === undefined ? {} : { ratePerHour: usage.ratePerHour };
      const granted = { ...lease, gpuId, gpuType: type, node, expiresAt, grantedAt, before, ...rate };
      return await deliver("leaseGranted", signals.grantLease({ lease: granted }));
    },
    async tellHolder(lease, loss) {
      await deliver("leaseLost", signals.reportLoss({ ...lease, ...loss }));
    },
    carried: () => ({ view, sequence }),
  };
}

/** Whether the signal arrived; undefined when that is not known. The census mends what was lost. */
async function deliver(signal: string, sending: Promise<{ delivered: boolean }>): Promise<boolean | undefined> {
  try {
    return (await sending).delivered;
  } catch (error) {
    log.warn("a signal could not be sent", { signal, error: failureSentence(error) });
    return undefined;
  }
}

function describe(gpu: GpuView): string {
  const lines = [
    `**${gpu.type}** instance, ${gpu.state} since ${new Date(gpu.since).toISOString()}`,
    gpu.node === undefined ? undefined : `- node \`${gpu.node}\`, workload \`${gpu.workload}\``,
    gpu.lease === undefined ? undefined : `- used by job ${gpu.lease.jobId}`,
    gpu.reason === undefined ? undefined : `- stops: ${gpu.reason}`,
    `- the provider ends it at ${new Date(gpu.expiresAt).toISOString()}`,
  ];
  return lines.filter((line) => line !== undefined).join("\n");
}
