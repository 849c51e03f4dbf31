import { z } from "zod";
import { providerStates } from "../../../gpus/types.ts";
import { jobId, time, waitingReason } from "./common.ts";

export const gpuState = z.enum(["launching", "starting", "idle", "leased", "draining", "stopping", "stopped", "lost"]);

export const providerState = z.enum(providerStates);

export const paidSeconds = z
  .object({ paid: z.number(), boot: z.number(), busy: z.number(), idle: z.number() })
  .describe("Boot, busy and idle add up to what is paid");

const money = z.number().optional().describe("Absent where no rate is known");

export const gpuSchema = z.object({
  id: z.string(),
  type: z.string(),
  state: gpuState,
  since: time,
  kept: z.boolean().optional().describe("It is kept warm"),
  reason: z.string().optional().describe("Why it stops or was lost"),
  node: z.string().optional(),
  workload: z.string().optional().describe("The provider's id"),
  job: jobId.optional(),
  started_at: time,
  expires_at: time,
  seconds: paidSeconds.optional(),
  jobs: z.int(),
  cost: money,
});

export const stoppedGpuSchema = z.object({
  id: z.string(),
  type: z.string(),
  node: z.string(),
  workload: z.string(),
  paid_from: time,
  stopped_at: time,
  seconds: paidSeconds,
  jobs: z.int(),
  cost: money,
  refunded: z.number().optional().describe("What the provider gave back of what it took at the launch"),
});

export const gpuTotalsSchema = z.object({
  instances: z.int(),
  jobs: z.int(),
  seconds: paidSeconds,
  cost: money,
  refunded: z.number(),
  refunds_unknown: z.int().optional().describe("How many of which the provider did not say what it gave back"),
});

export const gpusSchema = z.object({
  gpus: z.array(gpuSchema),
  unreadable: z
    .array(z.string())
    .optional()
    .describe("Instances of which nothing more is known, since the key is missing that encrypted what they say"),
  last_24_hours: gpuTotalsSchema.nullable().describe("null: it is not known, since the object store does not answer"),
  stopped: z.array(stoppedGpuSchema).nullable().describe("Since yesterday, the latest first; null: it is not known"),
});

export const drainedSchema = z.object({ message: z.string() });

export const poolLimitsSchema = z.object({ min: z.int(), max: z.int() });

export const queuedJobSchema = z.object({
  id: jobId,
  position: z.int(),
  eta_seconds: z.number().optional(),
  waiting_for: waitingReason,
});

export const poolProviderSchema = z
  .object({ state: providerState, reason: z.string(), since: time })
  .describe("Why the provider gives no instances; absent while nothing is known against it");

export const poolGpuSchema = z.object({ id: z.string(), state: gpuState, job: jobId.optional() });

export const poolSchema = z.object({
  type: z.string(),
  limits: poolLimitsSchema,
  paused: z.boolean(),
  rate: money.describe("Money per hour of an instance"),
  known: z.literal(false).optional().describe("The pool does not answer: nobody knows who waits, and for what"),
  queue: z.array(queuedJobSchema).nullable().describe("null: it is not known"),
  provider: poolProviderSchema.optional(),
  gpus: z.array(poolGpuSchema).nullable().describe("null: it is not known"),
  pending: z.literal(true).optional().describe("After a change: the pool was not told yet, and learns it in a minute"),
});

export const poolsSchema = z.object({ pools: z.array(poolSchema) });
