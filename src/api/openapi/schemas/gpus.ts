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
});

export const gpusSchema = z.object({
  gpus: z.array(gpuSchema),
  last_24_hours: gpuTotalsSchema,
  stopped: z.array(stoppedGpuSchema).describe("Since yesterday, the latest first"),
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
  queue: z.array(queuedJobSchema),
  provider: poolProviderSchema.optional(),
  gpus: z.array(poolGpuSchema),
});

export const poolsSchema = z.object({ pools: z.array(poolSchema) });
