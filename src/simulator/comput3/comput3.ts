import { Hono } from "hono";
import { z } from "zod";
import { faulty } from "../control/httpFaults.ts";
import type { Simulation, SimulatorEnv } from "../env.ts";

const launchBody = z.object({ type: z.string(), expires: z.number() });
const balanceBody = z.object({ balance: z.number() });
const stopBody = z.object({ workload: z.string() });

/** The control API of Comput3, under `/api/v0`. */
export function comput3Routes(simulation: Simulation): Hono<SimulatorEnv> {
  const { world, apiKey } = simulation;
  const routes = new Hono<SimulatorEnv>();
  routes.use(faulty(simulation, "comput3"));
  routes.use(async (c, next) => {
    if (c.req.header("x-c3-api-key") !== apiKey) return c.json({ detail: "Invalid API key" }, 401);
    return await next();
  });
  routes.post("/launch", async (c) => {
    const body = launchBody.safeParse(await c.req.json().catch(() => undefined));
    if (!body.success) return c.json({ detail: "type and expires are required" }, 422);
    const { type, expires } = body.data;
    if (!world.types.includes(type)) return c.json({ detail: `unknown type ${type}` }, 422);
    if (expires * 1000 <= Date.now()) return c.json({ detail: "expires must be in the future" }, 422);
    if (world.balance() <= 0) return c.json({ detail: "Insufficient balance" }, 402);
    return c.json(world.launch(type, Math.floor(expires)));
  });
  routes.post("/workloads", (c) => c.json(world.running()));
  routes.post("/stop", async (c) => {
    const body = stopBody.safeParse(await c.req.json().catch(() => undefined));
    const stopped = body.success ? world.stop(body.data.workload) : undefined;
    return stopped === undefined ? c.json({ detail: "no such workload" }, 404) : c.json(stopped);
  });
  routes.get("/types", (c) => c.json(world.types));
  routes.get("/balance", (c) => c.json({ balance: world.balance() }));
  // Not of the real API: sets the balance, zero for an empty account.
  routes.post("/balance", async (c) => {
    const body = balanceBody.safeParse(await c.req.json().catch(() => undefined));
    if (!body.success) return c.json({ detail: "balance is required" }, 422);
    world.setBalance(body.data.balance);
    return c.json({ balance: world.balance() });
  });
  return routes;
}
