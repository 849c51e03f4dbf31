import { WorkflowNotFoundError } from "@temporalio/client";
import { Hono } from "hono";
import { z } from "zod";
import type { GpuView, LedgerEntry } from "../../gpus/types.ts";
import { costOf } from "../../gpus/usage.ts";
import { drain } from "../../workflows/messages.ts";
import { readOptionalBody } from "../body.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError } from "../errors.ts";
import { createLedgerReader } from "../ledgerReader.ts";
import { adminOnly } from "../middleware/adminOnly.ts";
import { temporalCall } from "../temporalCall.ts";

const DAY_MS = 86_400_000;
const MANAGERS = "WorkflowType = 'gpuManager' AND ExecutionStatus = 'Running'";
/** The body of `POST /gpus/{id}/drain`. */
export const drainSchema = z.object({ now: z.boolean().default(false), reason: z.string().min(1).max(200).optional() });
const gpuId = /^gpu-[A-Za-z0-9_.:-]+-\d+$/;

/** The instances: what they do and what they cost. */
export function gpuRoutes({ client, store, config }: ApiDeps) {
  const readLedger = createLedgerReader(store);
  return new Hono<ApiEnv>()
    .use("/gpus/*", adminOnly)
    .get("/gpus", async (c) => {
      const views = await temporalCall(client, async () => {
        const found: GpuView[] = [];
        for await (const { memo } of client.workflow.list({ query: MANAGERS })) {
          if (isGpuView(memo?.gpu)) found.push(memo.gpu);
        }
        return found;
      });
      const now = Date.now();
      const stopped = await readLedger(now - DAY_MS);
      return c.json({
        gpus: views.map((view) => document(view, now)),
        last_24_hours: totalsOf(stopped),
        stopped: stopped.map(stoppedDocument),
      });
    })
    .post("/gpus/:id/drain", async (c) => {
      const id = c.req.param("id");
      if (!gpuId.test(id)) throw new HttpError(400, "invalid_gpu_id", "Invalid GPU ID format");
      const { now, reason } = await readOptionalBody(c, drainSchema, config.api.maxBodyBytes);
      try {
        const request = { now, reason: reason ?? "drained by an operator" };
        await temporalCall(client, () => client.workflow.getHandle(id).signal(drain, request));
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
  };
}

function isGpuView(value: unknown): value is GpuView {
  return typeof value === "object" && value !== null && "gpuId" in value;
}
