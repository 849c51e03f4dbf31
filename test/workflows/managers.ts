import { randomUUID } from "node:crypto";
import { WorkflowNotFoundError } from "@temporalio/client";
import { ids } from "../../src/contracts/names.ts";
import { assign, drain, gpuChanged, leaseGranted, leaseLost, releaseLease } from "../../src/contracts/signals.ts";
import type { GpuChange, GpuView } from "../../src/gpus/types.ts";
import { taskQueues } from "../../src/temporal/connection.ts";
import type { GpuSettings, gpuManager } from "../../src/workflows/gpuManager.ts";
import { eventually } from "../support/eventually.ts";
import { type Mailbox, openMailbox } from "../support/mailbox.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";

export const TYPE = "media:fast";
export const LIMITED = "media:large";
const DAY_MS = 86_400_000;
/** Nothing ends by itself unless a test says so. */
const patient: GpuSettings = {
  bootDelayMs: 0,
  readyTimeoutMs: DAY_MS,
  idleTimeoutMs: DAY_MS,
  replaceAfterMs: DAY_MS,
  leaseTimeoutMs: DAY_MS,
};

export type Gpu = Awaited<ReturnType<ReturnType<typeof createLaunch>>>;

function createLaunch({ client, simulator }: TestStack, pool: Mailbox) {
  let launches = 0;
  return async function launch(settings: Partial<GpuSettings> = {}, { type = TYPE, lifetimeSeconds = 0 } = {}) {
    launches += 1;
    const expires = Math.floor(Date.now() / 1000) + (lifetimeSeconds || 7200 + launches);
    const gpuId = ids.gpu(type, expires);
    const handle = await client.workflow.start<typeof gpuManager>("gpuManager", {
      workflowId: gpuId,
      workflowIdReusePolicy: "REJECT_DUPLICATE",
      taskQueue: taskQueues.main,
      args: [{ gpuId, type, expires, settings: { ...patient, ...settings } }],
    });
    const view = async () => (await handle.describe()).memo?.gpu as GpuView | undefined;
    /** What the pool was told. */
    const changes = async (): Promise<GpuChange[]> =>
      (await pool.received(gpuChanged)).filter((change) => change.gpuId === gpuId);
    return {
      gpuId,
      handle,
      view,
      changes,
      /** The states in their order, as the pool was told them. */
      async states() {
        const states = (await changes()).map(({ state }) => state);
        return states.filter((state, index) => state !== states[index - 1]);
      },
      until: (state: GpuView["state"]) =>
        eventually(`${gpuId} is ${state}`, async () => {
          const seen = await view();
          return seen?.state === state ? seen : undefined;
        }),
      untilTold: (what: string, is: (change: GpuChange) => boolean) =>
        eventually(`the pool hears of ${what}`, async () => (await changes()).find(is)),
      /** The instances of it, also those that have ended. */
      instances: () => simulator.instances().filter((instance) => instance.expires === expires),
    };
  };
}

export type Driver = ReturnType<typeof createDriver>;

/** Real managers over real activities; the pool and the jobs that they speak to are mailboxes. */
function createDriver(stack: TestStack, pool: Mailbox) {
  const { client, simulator } = stack;
  const launchOne = createLaunch(stack, pool);
  const gpus: Gpu[] = [];
  const jobs: Mailbox[] = [];

  async function launch(...options: Parameters<typeof launchOne>) {
    const gpu = await launchOne(...options);
    gpus.push(gpu);
    return gpu;
  }

  async function launchIdle(settings: Partial<GpuSettings> = {}) {
    const gpu = await launch(settings);
    await gpu.until("idle");
    return gpu;
  }

  /** Assigns the instance to a new job; it is not waited for what comes of it. */
  async function offer(gpu: Gpu) {
    const jobId = randomUUID();
    const leaseId = `${jobId}/1@${gpu.gpuId}`;
    const job = await openMailbox(client, ids.job(jobId));
    jobs.push(job);
    await gpu.handle.signal(assign, { leaseId, jobId });
    return { jobId, leaseId, job };
  }

  async function lend(gpu: Gpu) {
    const offered = await offer(gpu);
    const lease = await eventually("the lease", async () => (await offered.job.received(leaseGranted))[0]);
    await gpu.until("leased");
    const release = async (outcome: "completed" | "clean" | "suspect") => {
      const at = Date.now();
      await gpu.handle.signal(releaseLease, { leaseId: lease.leaseId, outcome, at });
      return at;
    };
    const lost = () => eventually("the loss", async () => (await offered.job.received(leaseLost))[0]);
    return { ...offered, lease, release, lost };
  }

  return {
    launch,
    launchIdle,
    offer,
    lend,
    /** No instance is left that a fault of the next test could hit. */
    async settle() {
      simulator.clearFaults();
      for (const gpu of gpus) {
        await gpu.handle.signal(drain, { now: true, reason: "the test is over" }).catch((error: unknown) => {
          if (!(error instanceof WorkflowNotFoundError)) throw error;
        });
      }
      for (const gpu of gpus.splice(0)) await gpu.until("stopped");
      for (const job of jobs.splice(0)) await job.close();
    },
  };
}

export async function startDriven(options: TestStackOptions = {}) {
  const stack = await startTestStack({
    ...options,
    gpu: {
      pools: { [TYPE]: { max: 100 }, [LIMITED]: { max: 1 } },
      launchRetryMs: [20, 20],
      watchIntervalMs: 50,
      checkRetryMs: 20,
      // Here the managers are to do everything themselves.
      reconcileIntervalMs: DAY_MS,
    },
  });
  return { stack, driver: createDriver(stack, await openMailbox(stack.client, ids.pool(TYPE))) };
}
