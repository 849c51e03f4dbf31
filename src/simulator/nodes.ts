import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono } from "hono";
import type { Simulation, SimulatorEnv } from "./env.ts";
import { createGradioServer, type GradioApp } from "./gradio.ts";
import { faulty } from "./httpFaults.ts";

type Server = ReturnType<typeof createGradioServer>;

/** The rented nodes, all under one port: `/nodes/<node>/`, with the apps of a `media` node below. */
export function createNodes(simulation: Simulation, apps: Record<string, GradioApp>, folder: string) {
  const { world, journal } = simulation;
  const servers = new Map<string, Map<string, Server>>();

  /** The servers of a node, started with it; what runs when it goes down is lost. */
  function serversOf(node: string): Map<string, Server> {
    const known = servers.get(node);
    if (known !== undefined) return known;
    const started = new Map(
      Object.entries(apps).map(([name, app]) => {
        const root = `${simulation.url()}/nodes/${node}/${name}`;
        return [name, createGradioServer(simulation, app, node, root, folder)];
      }),
    );
    servers.set(node, started);
    world.whenDown(node, () => {
      for (const server of started.values()) server.shutDown();
      const lost = journal.renders.filter((render) => render.node === node && render.outcome === undefined);
      for (const render of lost) Object.assign(render, { finishedAt: Date.now(), outcome: "lost" });
    });
    return started;
  }

  const routes = new Hono<SimulatorEnv>();
  routes.use("/:node/*", async (c, next) => {
    switch (world.nodeState(c.req.param("node"))) {
      case "up":
        if (c.req.header("x-c3-api-key") !== simulation.apiKey) return c.json({ detail: "Invalid API key" }, 401);
        return await next();
      case "booting":
        return c.json({ detail: "the node is booting" }, 502);
      default:
        // Nobody answers.
        c.env.incoming.socket.destroy();
        return RESPONSE_ALREADY_SENT;
    }
  });
  routes.get("/:node/", faulty(simulation, "node"), (c) => c.text(`c3-render simulator: node ${c.req.param("node")}`));
  for (const [name, app] of Object.entries(apps)) {
    routes.use(`/:node/${name}/*`, faulty(simulation, app.service));
    routes.all(`/:node/${name}/*`, async (c) => {
      const { node } = c.req.param();
      const server = serversOf(node).get(name);
      const path = c.req.path.slice(`/nodes/${node}/${name}`.length);
      const url = new URL(c.req.url);
      url.pathname = path === "" ? "/" : path;
      if (server === undefined) return c.notFound();
      return await server.routes.fetch(new Request(url, c.req.raw), c.env);
    });
  }

  return {
    routes,
    /** Restarts the apps of one node, or of all. */
    restart(node: string | undefined): void {
      for (const [name, started] of servers) {
        if (node === undefined || name === node) for (const server of started.values()) server.restart();
      }
    },
  };
}
