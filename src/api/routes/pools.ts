import { WorkflowNotFoundError } from "@temporalio/client";
import { Hono } from "hono";
import { z } from "zod";
import type { ProviderStatus } from "../../gpus/types.ts";
import { readPoolOverrides, writePoolOverrides } from "../../storage/poolOverrides.ts";
import { censusWanted, resizePool } from "../../workflows/messages.ts";
import { ids } from "../../workflows/names.ts";
import { readBody } from "../body.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { HttpError, invalidBody } from "../errors.ts";
import { adminOnly } from "../middleware/adminOnly.ts";
import type { ReadPool } from "../poolStatus.ts";
import { temporalCall } from "../temporalCall.ts";

const MAX_INSTANCES = 1000;
const limit = z.number().int().min(0).max(MAX_INSTANCES);
/** The body of `PATCH /pools/{type}`. */
export const resizeSchema = z
  .object({ min: limit.optional(), max: limit.optional(), paused: z.boolean().optional() })
  .refine((body) => Object.values(body).some((value) => value !== undefined), {
    error: "give at least one of min, max and paused",
  });

/** The pools: who waits, and how many instances there may be. */
export function poolRoutes({ client, store, config }: ApiDeps, readPool: ReadPool) {
  async function document(type: string) {
    const configured = config.gpu.pools[type];
    const [status, overrides] = await Promise.all([readPool(type), readPoolOverrides(store, type)]);
    const { min = 0, max = 0 } = { ...configured, ...overrides };
    return {
      type,
      limits: { min, max },
      paused: status?.paused ?? overrides.paused ?? false,
      rate: configured?.rate,
      queue: (status?.queue ?? []).map(({ jobId, position, etaSeconds, waitingFor }) => ({
        id: jobId,
        position,
        eta_seconds: etaSeconds,
        waiting_for: waitingFor,
      })),
      provider: status?.provider && providerDocument(status.provider),
      gpus: (status?.gpus ?? []).map(({ gpuId, state, lease }) => ({ id: gpuId, state, job: lease?.jobId })),
    };
  }

  function providerDocument({ state, reason, since }: ProviderStatus) {
    return { state, reason, since: new Date(since).toISOString() };
  }

  function requirePool(type: string): void {
    if (!Object.hasOwn(config.gpu.pools, type)) throw new HttpError(404, "pool_not_found", "There is no such pool");
  }

  return new Hono<ApiEnv>()
    .use("/pools/*", adminOnly)
    .get("/pools", async (c) => c.json({ pools: await Promise.all(Object.keys(config.gpu.pools).map(document)) }))
    .get("/pools/:type", async (c) => {
      const type = c.req.param("type");
      requirePool(type);
      return c.json(await document(type));
    })
    .patch("/pools/:type", async (c) => {
      const type = c.req.param("type");
      requirePool(type);
      const change = await readBody(c, resizeSchema, config.api.maxBodyBytes);
      const overrides = { ...(await readPoolOverrides(store, type)), ...change };
      const { min = 0, max = 0 } = { ...config.gpu.pools[type], ...overrides };
      if (min > max) throw invalidBody({ min: `must be at most max, which is ${max}` });
      await writePoolOverrides(store, type, overrides);
      const { paused } = overrides;
      await tell(ids.pool(type), (handle) =>
        handle.signal(resizePool, { min, max, ...(paused !== undefined && { paused }) }),
      );
      // A pool that is not there, and now has instances to keep warm, is started by the reconciler.
      await tell(ids.reconciler, (handle) => handle.signal(censusWanted));
      return c.json({ ...(await document(type)), limits: { min, max }, paused: paused ?? false });
    });

  /** A workflow that is not there learns of it when it starts. */
  async function tell(
    workflowId: string,
    signal: (handle: ReturnType<typeof client.workflow.getHandle>) => Promise<void>,
  ): Promise<void> {
    try {
      await temporalCall(client, () => signal(client.workflow.getHandle(workflowId)));
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
    }
  }
}
