import { WorkflowNotFoundError } from "@temporalio/client";
import { Hono } from "hono";
import { z } from "zod";
import { drain } from "../../contracts/signals.ts";
import type { GpuView, LedgerEntry } from "../../gpus/types.ts";
import { costOf } from "../../gpus/usage.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { createLedgerReader } from "../gpus/ledgerReader.ts";
import { readOptionalBody } from "../http/body.ts";
import { HttpError } from "../http/errors.ts";
import { outcomeUnknown, settled } from "../http/settled.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { adminOnly } from "../middleware/adminOnly.ts";

const DAY_MS = 86_400_000;
const MANAGERS = "WorkflowType = 'gpuManager' AND ExecutionStatus = 'Running'";
/** The body of `POST /gpus/{id}/drain`. */
export const drainSchema = z.object({ now: z.boolean().default(false), reason: z.string().min(1).max(200).optional() });
const gpuId = /^gpu-[A-Za-z0-9_.:-]+-\d+$/;

/** The instances: what they do and what they cost. */
export function gpuRoutes({ client, store, config, log }: ApiDeps) {
  const readLedger = createLedgerReader(store);

  /** Undefined when it is not known: what is paid for now can be told all the same. */
  async function ledgerSince(since: number): Promise<LedgerEntry[] | undefined> {
    try {
      return await readLedger(since);
    } catch (error) {
      log.warn({ err: error }, "the ledger cannot be read");
      return undefined;
    }
  }

  return new Hono<ApiEnv>()
    .use("/gpus/*", adminOnly)
    .get("/gpus", async (c) => {
      const { views, unreadable } = await temporalCall(client, async () => {
        const found = { views: [] as GpuView[], unreadable: [] as string[] };
        for await (const { memo, workflowId } of client.workflow.list({ query: MANAGERS })) {
          if (isGpuView(memo?.gpu)) found.views.push(memo.gpu);
          else found.unreadable.push(workflowId);
        }
        return found;
      });
      const now = Date.now();
      const stopped = await ledgerSince(now - DAY_MS);
      return c.json({
        gpus: views.map((view) => document(view, now)),
        ...(unreadable.length > 0 && { unreadable }),
        last_24_hours: stopped === undefined ? null : totalsOf(stopped),
        stopped: stopped?.map(stoppedDocument) ?? null,
      });
    })
    .post("/gpus/:id/drain", async (c) => {
      const id = c.req.param("id");
      if (!gpuId.test(id)) throw new HttpError(400, "invalid_gpu_id", "Invalid GPU ID format");
      const { now, reason } = await readOptionalBody(c, drainSchema, config.api);
      try {
        const request = { now, reason: reason ?? "drained by an operator" };
        const signal = () => client.workflow.getHandle(id).signal(drain, request);
        await settled(client, signal, outcomeUnknown(`the GPU ${id} is drained`));
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) throw new HttpError(404, "gpu_not_found", "GPU not found");
        throw error;
      }
      return c.json({
        message: now ? `GPU ${id} is being stopped` : `GPU ${id} takes no further job and is then stopped`,
      });
    });
}

function document({ usage, lease, ...view }: GpuView, now: number) {
  const paidMs = usage === undefined ? 0 : Math.max(0, now - usage.paidFrom);
  // What is not accounted for yet belongs to what the instance does now.
  const open = usage === undefined ? 0 : Math.max(0, now - usage.until) / 1000;
  return {
    id: view.gpuId,
    type: view.type,
    state: view.state,
    since: new Date(view.since).toISOString(),
    kept: view.kept,
    reason: view.reason,
    node: view.node,
    workload: view.workload,
    job: lease?.jobId,
    started_at: new Date(view.startedAt).toISOString(),
    expires_at: new Date(view.expiresAt).toISOString(),
    seconds: usage && {
      paid: paidMs / 1000,
      boot: usage.bootMs / 1000 + (view.state === "starting" ? open : 0),
      busy: usage.busyMs / 1000 + (lease === undefined ? 0 : open),
      idle: usage.idleMs / 1000 + (lease === undefined && view.state !== "starting" ? open : 0),
    },
    jobs: usage?.jobs ?? 0,
    cost: costOf(paidMs, usage?.ratePerHour),
  };
}

function stoppedDocument(entry: LedgerEntry) {
  return {
    id: entry.gpuId,
    type: entry.type,
    node: entry.node,
    workload: entry.workload,
    paid_from: entry.paidFrom,
    stopped_at: entry.stoppedAt,
    seconds: {
      paid: entry.paidSeconds,
      boot: entry.bootSeconds,
      busy: entry.busySeconds,
      idle: entry.idleSeconds,
    },
    jobs: entry.jobs,
    cost: entry.cost,
    refunded: entry.refundAmount,
  };
}

function totalsOf(entries: readonly LedgerEntry[]) {
  const sum = (pick: (entry: LedgerEntry) => number) => entries.reduce((total, entry) => total + pick(entry), 0);
  const priced = entries.every(({ cost }) => cost !== undefined);
  const untold = entries.filter(({ refundAmount }) => refundAmount === undefined).length;
  return {
    instances: entries.length,
    jobs: sum(({ jobs }) => jobs),
    seconds: {
      paid: sum(({ paidSeconds }) => paidSeconds),
      boot: sum(({ bootSeconds }) => bootSeconds),
      busy: sum(({ busySeconds }) => busySeconds),
      idle: sum(({ idleSeconds }) => idleSeconds),
    },
    cost: priced ? sum(({ cost = 0 }) => cost) : undefined,
    refunded: sum(({ refundAmount = 0 }) => refundAmount),
    ...(untold > 0 && { refunds_unknown: untold }),
  };
}

function isGpuView(value: unknown): value is GpuView {
  return typeof value === "object" && value !== null && "gpuId" in value;
}
