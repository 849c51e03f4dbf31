import { log, proxyLocalActivities, setCurrentDetails, upsertMemo } from "@temporalio/workflow";
import type { Activities } from "../activities/index.ts";
import type { Assignment, GpuChange, GpuView } from "../gpus/types.ts";
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
  change(next: Partial<GpuView>, ended?: Pick<GpuChange, "released" | "refused">): Promise<void>;
  /** Records a lease and grants it; false when its job is gone, undefined when that is not known. */
  lend(assignment: Assignment): Promise<boolean | undefined>;
  /** Tells the holder that its GPU is gone. */
  tellHolder(lease: Assignment, reason: string, nodeFault: boolean): Promise<void>;
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
    async lend(lease) {
      view = { ...view, state: "leased", since: Date.now(), lease };
      show();
      const { node = "", expiresAt } = view;
      const before = { kind: "idle", ms: 0 } as const;
      const granted = { ...lease, gpuId, gpuType: type, node, expiresAt, grantedAt: Date.now(), before };
      return await deliver("leaseGranted", signals.grantLease({ lease: granted }));
    },
    async tellHolder(lease, reason, nodeFault) {
      await deliver("leaseLost", signals.reportLoss({ ...lease, reason, nodeFault }));
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
