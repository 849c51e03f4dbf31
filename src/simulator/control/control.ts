import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { serveStatic } from "@hono/node-server/serve-static";
import { Hono } from "hono";
import type { Simulation, SimulatorEnv } from "../env.ts";
import type { Sample } from "../sound/samples.ts";
import { type Fault, faultSchema } from "./faults.ts";
import type { Hooks } from "./hooks.ts";

export interface ControlOptions {
  simulation: Simulation;
  hooks: Hooks;
  /** Sample inputs by name, made when they are first asked for. */
  samples: Record<string, () => Promise<Sample>>;
  filesFolder: string;
  /** Makes a fault happen, now or when something matches it. */
  inject: (fault: Fault) => void;
}

/** What tests and people do to the simulator, under `/sim`. */
export function controlRoutes({ simulation, hooks, samples, filesFolder, inject }: ControlOptions): Hono<SimulatorEnv> {
  const { world, journal, faults } = simulation;
  const routes = new Hono<SimulatorEnv>();

  routes.get("/instances", (c) => c.json(world.instances()));
  routes.get("/renders", (c) => c.json(journal.renders));
  routes.get("/calls", (c) => {
    const { service, path = "", since = "0" } = c.req.query();
    const wanted = journal.calls.filter((call) => call.at >= Number(since) && call.path.includes(path));
    return c.json(service === undefined ? wanted : wanted.filter((call) => call.service === service));
  });

  routes.get("/faults", (c) => c.json(faults.list()));
  routes.post("/faults", async (c) => {
    const fault = faultSchema.safeParse(await c.req.json().catch(() => undefined));
    if (!fault.success) return c.json({ detail: fault.error.issues }, 400);
    inject(fault.data);
    return c.json(fault.data, 201);
  });
  routes.delete("/faults", (c) => {
    faults.clear();
    return c.body(null, 204);
  });

  routes.post("/files/:name{[A-Za-z0-9._-]+}", async (c) => {
    await writeFile(join(filesFolder, c.req.param("name")), Buffer.from(await c.req.arrayBuffer()));
    return c.json({ url: `${simulation.url()}${c.req.path}` }, 201);
  });
  routes.get("/files/:name{[A-Za-z0-9._-]+}", async (c, next) => {
    const sample = samples[c.req.param("name")];
    if (sample === undefined) return await next();
    const { body, contentType } = await sample();
    return c.body(new Uint8Array(body), 200, { "Content-Type": contentType });
  });
  routes.get(
    "/files/*",
    serveStatic({ root: filesFolder, rewriteRequestPath: (path) => path.slice("/sim/files".length) }),
  );

  routes.post("/hooks/:name", async (c) => {
    const { fail, delay_ms: delayMs } = c.req.query();
    const status = hooks.receive(c.req.param("name"), Object.fromEntries(c.req.raw.headers), await c.req.text(), {
      failures: Number(fail ?? 0),
    });
    if (delayMs !== undefined) await delay(Number(delayMs));
    return c.json({ received: status === 200 }, status);
  });
  routes.get("/hooks/:name", (c) => c.json(hooks.received(c.req.param("name"))));
  return routes;
}
