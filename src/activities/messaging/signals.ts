import { type Client, WorkflowExecutionAlreadyStartedError, WorkflowNotFoundError } from "@temporalio/client";
import type { SignalDefinition } from "@temporalio/common";
import type { Config } from "../../config/index.ts";
import { ids, taskQueues } from "../../contracts/names.ts";
import * as messages from "../../contracts/signals.ts";
import type { Assignment, GpuChange, Lease, LeaseLoss, LeaseRelease, LeaseRequest } from "../../gpus/types.ts";
import { type JobOutcome, outcomeSchema, type WebhookRequest } from "../../jobs/webhook.ts";
import { deliveryOptions } from "../../webhooks/deliveryLog.ts";
import type { deliverWebhook } from "../../workflows/deliverWebhook.ts";
import type { gpuManager } from "../../workflows/gpuManager.ts";
import type { gpuPool } from "../../workflows/gpuPool.ts";
import { nodeUrlOf } from "../gpus/nodeUrls.ts";
import { managerSettings, poolSettings, startReconciler } from "./starts.ts";

/** What a pool sends in one batch. */
export type PoolMessage =
  | { kind: "assign"; gpuId: string; assignment: Assignment }
  | { kind: "keep"; gpuId: string; kept: boolean }
  | { kind: "drain"; gpuId: string; reason: string }
  | Launch;

/** An instance to be launched, or a node of one's own to be used. */
interface Launch {
  kind: "launch";
  gpuId: string;
  type: string;
  /** Epoch seconds. */
  expires: number;
  node?: string;
}

/** Whether the other workflow is open and has the message; "no" is an answer, not an error. */
export interface Delivery {
  delivered: boolean;
}

/** The messages between workflows: one call to the Temporal server each, and so local activities. */
export function createSignals({ client, config }: { client: Client; config: Config }) {
  async function signal<Args extends [unknown]>(
    workflowId: string,
    definition: SignalDefinition<Args>,
    ...args: Args
  ): Promise<Delivery> {
    try {
      await client.workflow.getHandle(workflowId).signal(definition, ...args);
      return { delivered: true };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return { delivered: false };
      throw error;
    }
  }

  async function startManager({ kind: _launch, ...instance }: Launch): Promise<Delivery> {
    const { gpuId, type } = instance;
    const settings = managerSettings(config, type);
    try {
      await client.workflow.start<typeof gpuManager>("gpuManager", {
        workflowId: gpuId,
        workflowIdReusePolicy: "REJECT_DUPLICATE",
        taskQueue: taskQueues.main,
        args: [{ ...instance, settings }],
        staticSummary: `one ${type} instance, from launch to confirmed stop`,
      });
      return { delivered: true };
    } catch (error) {
      if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      // Ours, of an attempt whose answer was lost, unless it has already ended.
      const { status } = await client.workflow.getHandle(gpuId).describe();
      return { delivered: status.name === "RUNNING" };
    }
  }

  function send(message: PoolMessage): Promise<Delivery> {
    switch (message.kind) {
      case "assign":
        return signal(message.gpuId, messages.assign, message.assignment);
      case "keep":
        return signal(message.gpuId, messages.keep, { kept: message.kept });
      case "drain":
        return signal(message.gpuId, messages.drain, { now: false, reason: message.reason });
      case "launch":
        return startManager(message);
      default:
        return message satisfies never;
    }
  }

  return {
    /** Job → pool; starts the pool if it is not there. */
    async requestLease({ gpuType, request }: { gpuType: string; request: LeaseRequest }): Promise<void> {
      await client.workflow.signalWithStart<typeof gpuPool, [LeaseRequest]>("gpuPool", {
        workflowId: ids.pool(gpuType),
        taskQueue: taskQueues.main,
        args: [{ type: gpuType, settings: poolSettings(config, gpuType) }],
        signal: messages.requestLease,
        signalArgs: [request],
        staticSummary: `the queue and the GPUs of ${gpuType}`,
      });
    },

    /** Job → pool. */
    withdrawLease: ({ gpuType, jobId }: { gpuType: string; jobId: string }) =>
      signal(ids.pool(gpuType), messages.withdrawLease, { jobId }),

    /** Job → manager. */
    releaseLease: ({ gpuId, ...release }: LeaseRelease & { gpuId: string }) =>
      signal(gpuId, messages.releaseLease, release),

    /** Job → manager. */
    renewLease: ({ gpuId, leaseId }: { gpuId: string; leaseId: string }) =>
      signal(gpuId, messages.renewLease, { leaseId }),

    /** Manager → job. */
    grantLease: ({ lease }: { lease: Omit<Lease, "nodeUrl"> }) =>
      signal(ids.job(lease.jobId), messages.leaseGranted, {
        ...lease,
        nodeUrl: nodeUrlOf(config, lease),
      }),

    /** Manager → job. */
    reportLoss: ({ jobId, ...loss }: LeaseLoss & { jobId: string }) => signal(ids.job(jobId), messages.leaseLost, loss),

    /** Manager → pool. */
    reportGpu: ({ change }: { change: GpuChange }) => signal(ids.pool(change.type), messages.gpuChanged, change),

    /**
     * Pool → managers: a whole batch at once.
     * @returns for each message whether its manager is open and has it
     */
    sendPoolMessages: ({ messages: batch }: { messages: PoolMessage[] }): Promise<boolean[]> =>
      Promise.all(batch.map(async (message) => (await send(message)).delivered)),

    /** Pool → reconciler: look now. */
    wantCensus: () => startReconciler(client, config),

    /**
     * Job → its own webhook workflow, which outlives it.
     * @returns whether it was started now, or with what outcome it was before
     */
    async startWebhook(request: WebhookRequest): Promise<{ started: boolean; before?: JobOutcome }> {
      if (!config.webhook.statuses.includes(request.ending.state)) return { started: false };
      try {
        await client.workflow.start<typeof deliverWebhook>("deliverWebhook", {
          ...deliveryOptions(request),
          workflowIdReusePolicy: "REJECT_DUPLICATE",
          args: [{ ...request, retryDelaysMs: config.webhook.retryDelaysMs }],
          memo: { told: { ending: request.ending, ...(request.result && { result: request.result }) } },
        });
        return { started: true };
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
        const { memo } = await client.workflow.getHandle(ids.webhook(request.jobId)).describe();
        const before = outcomeSchema.safeParse(memo?.told).data;
        return { started: false, ...(before && { before }) };
      }
    },

    /** Asks the server to cancel a job: only then can its workflow end as Canceled. */
    async requestCancellation({ jobId }: { jobId: string }): Promise<void> {
      await client.workflow.getHandle(ids.job(jobId)).cancel();
    },
  };
}
