import { WorkflowNotFoundError } from "@temporalio/client";
import { Hono } from "hono";
import { z } from "zod";
import { ids } from "../../contracts/names.ts";
import { censusWanted, resizePool } from "../../contracts/signals.ts";
import type { PoolSize } from "../../gpus/pool.ts";
import type { PoolStatus, ProviderStatus } from "../../gpus/types.ts";
import { type PoolOverrides, readPoolOverrides, writePoolOverrides } from "../../storage/poolOverrides.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import type { ReadPool } from "../gpus/poolStatus.ts";
import { readBody } from "../http/body.ts";
import { HttpError, invalidBody } from "../http/errors.ts";
import { outcomeUnknown } from "../http/settled.ts";
import { StoreUnavailable } from "../http/storeErrors.ts";
import { temporalCall } from "../http/temporalCall.ts";
import { adminOnly } from "../middleware/adminOnly.ts";

const MAX_INSTANCES = 1000;
const limit = z.number().int().min(0).max(MAX_INSTANCES);
/** The body of `PATCH /pools/{type}`. */
export const resizeSchema = z
  .object({ min: limit.optional(), max: limit.optional(), paused: z.boolean().optional() })
  .refine((body) => Object.values(body).some((value) => value !== undefined), {
    error: "give at least one of min, max and paused",
  });

/** The pools: who waits, and how many instances there may be. */
export function poolRoutes({ client, store, config, log }: ApiDeps, readPool: ReadPool) {
  /** @throws what keeps Temporal from telling whether there is such a pool; StoreUnavailable */
  async function document(type: string, overrides?: PoolOverrides) {
    const [look, set] = await Promise.all([readPool(type), overrides ?? overridesOf(type)]);
    if (look.is === "unknown" && look.trouble !== undefined) throw look.trouble;
    const rate = config.gpu.pools[type]?.rate;
    if (look.is === "known")
      return { type, ...settingsOf(type, set, look.status), rate, ...statusDocument(look.status) };
    const nobody = look.is === "absent" ? [] : null;
    const isUnknown = look.is === "unknown" && { known: false };
    return { type, ...settingsOf(type, set), rate, ...isUnknown, queue: nobody, gpus: nobody };
  }

  /** The failure when the store does not say. */
  async function overridesOf(type: string): Promise<PoolOverrides | StoreUnavailable> {
    try {
      return await readPoolOverrides(store, type);
    } catch (error) {
      if (error instanceof StoreUnavailable) return error;
      throw error;
    }
  }

  /** What an operator has set holds before the pool knows of it; a pool knows it when the store does not say. */
  function settingsOf(type: string, overrides: PoolOverrides | StoreUnavailable, status?: PoolStatus) {
    if (overrides instanceof StoreUnavailable) {
      if (status === undefined) throw overrides;
      return { limits: status.limits, paused: status.paused };
    }
    return { limits: limitsOf(type, overrides), paused: status?.paused ?? overrides.paused ?? false };
  }

  function limitsOf(type: string, overrides: PoolOverrides) {
    const { min = 0, max = 0 } = { ...config.gpu.pools[type], ...overrides };
    return { min, max };
  }

  function requirePool(type: string): void {
    if (!Object.hasOwn(config.gpu.pools, type)) throw new HttpError(404, "pool_not_found", "There is no such pool");
  }

  return new Hono<ApiEnv>()
    .use("/pools/*", adminOnly)
    .get("/pools", async (c) =>
      c.json({ pools: await Promise.all(Object.keys(config.gpu.pools).map((type) => document(type))) }),
    )
    .get("/pools/:type", async (c) => {
      const type = c.req.param("type");
      requirePool(type);
      return c.json(await document(type));
    })
    .patch("/pools/:type", async (c) => {
      const type = c.req.param("type");
      requirePool(type);
      const change = await readBody(c, resizeSchema, config.api);
      const overrides = { ...(await readPoolOverrides(store, type)), ...change };
      const limits = limitsOf(type, overrides);
      if (limits.min > limits.max) throw invalidBody({ min: `must be at most max, which is ${limits.max}` });
      await writePoolOverrides(store, type, overrides).catch((cause) => {
        throw outcomeUnknown(`the pool ${type} was changed`)(cause);
      });
      const { paused } = overrides;
      const isTold = await tell(type, { ...limits, ...(paused !== undefined && { paused }) });
      const pool = await documentAfter(type, overrides);
      return c.json({ ...pool, limits, paused: paused ?? false, ...(!isTold && { pending: true }) });
    });

  /** The change is made: that the pool cannot be looked at is no failure of it. */
  async function documentAfter(type: string, overrides: PoolOverrides) {
    try {
      return await document(type, overrides);
    } catch (error) {
      log.warn({ err: error, pool: type }, "the pool was changed, and cannot be looked at");
      return { type, rate: config.gpu.pools[type]?.rate, known: false, queue: null, gpus: null };
    }
  }

  /** @returns false when it is not known whether they heard of it: the reconciler finds it in the store, within a minute */
  async function tell(type: string, size: PoolSize): Promise<boolean> {
    const signals = [
      () => client.workflow.getHandle(ids.pool(type)).signal(resizePool, size),
      // A pool that is not there, and now has instances to keep warm, is started by the reconciler.
      () => client.workflow.getHandle(ids.reconciler).signal(censusWanted),
    ];
    const told = await Promise.all(signals.map(heard));
    return !told.includes(false);

    async function heard(signal: () => Promise<void>): Promise<boolean> {
      try {
        await temporalCall(client, signal);
      } catch (error) {
        // A workflow that is not there learns of it when it starts.
        if (error instanceof WorkflowNotFoundError) return true;
        log.warn({ err: error, pool: type }, "the pool was changed, and could not be told");
        return false;
      }
      return true;
    }
  }
}

function statusDocument({ queue, gpus, provider }: PoolStatus) {
  return {
    queue: queue.map(({ jobId, position, etaSeconds, waitingFor }) => ({
      id: jobId,
      position,
      eta_seconds: etaSeconds,
      waiting_for: waitingFor,
    })),
    provider: provider && providerDocument(provider),
    gpus: gpus.map(({ gpuId, state, lease }) => ({ id: gpuId, state, job: lease?.jobId })),
  };
}

function providerDocument({ state, reason, since }: ProviderStatus) {
  return { state, reason, since: new Date(since).toISOString() };
}
