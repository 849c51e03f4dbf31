import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import { type WebSocket, WebSocketServer } from "ws";
import type { Service } from "../control/faults.ts";
import { faulty } from "../control/httpFaults.ts";
import type { Simulation, SimulatorEnv } from "../env.ts";

/** A server that runs on a node. */
export interface NodeServer {
  routes: Hono<SimulatorEnv>;
  /** Takes a WebSocket that was accepted for it. */
  attach?(socket: WebSocket, clientId: string): void;
  /** The app restarts: what it kept in memory is lost. */
  restart(): void;
  /** The node goes down. */
  shutDown(): void;
}

/** A server that the nodes of some types have. */
export interface NodeApp {
  service: Service;
  /** The host that it answers on: the node's own, or the second one that ComfyUI has. */
  host: "nodes" | "ui";
  /** Its path on that host: `/csm`, or empty. */
  prefix: string;
  types: RegExp;
  /** @param root where it is reached */
  start(node: string, root: string): NodeServer;
}

/** The rented nodes, all under one port: `/nodes/<node>/` and `/ui/<node>/`. */
export function createNodes(simulation: Simulation, apps: readonly NodeApp[]) {
  const { world, journal, faults } = simulation;
  const servers = new Map<string, Map<NodeApp, NodeServer>>();
  const webSockets = new WebSocketServer({ noServer: true });

  /** The servers of a node, started with it; what runs when it goes down is lost. */
  function serversOf(node: string): Map<NodeApp, NodeServer> {
    const known = servers.get(node);
    if (known !== undefined) return known;
    const type = world.typeOf(node) ?? "";
    const installed = apps.filter((app) => app.types.test(type));
    const started = new Map(
      installed.map((app) => [app, app.start(node, `${simulation.url()}/${app.host}/${node}${app.prefix}`)]),
    );
    servers.set(node, started);
    world.whenDown(node, () => {
      for (const server of started.values()) server.shutDown();
      const lost = journal.renders.filter((render) => render.node === node && render.outcome === undefined);
      for (const render of lost) Object.assign(render, { finishedAt: Date.now(), outcome: "lost" });
    });
    return started;
  }

  async function answer(c: Context<SimulatorEnv>, host: NodeApp["host"]): Promise<Response> {
    const node = c.req.param("node") ?? "";
    const path = c.req.path.slice(`/${host}/${node}`.length);
    const [app, server] =
      [...serversOf(node)].find(([{ host: on, prefix }]) => on === host && path.startsWith(`${prefix}/`)) ?? [];
    const isRoot = host === "nodes" && path === "/";
    const refused = await faulty(simulation, isRoot || app === undefined ? "node" : app.service)(c, async () => {
      if (isRoot) c.res = c.text(`c3-render simulator: node ${node}`);
      else if (app === undefined || server === undefined) c.res = c.json({ detail: "Not Found" }, 404);
      else {
        const url = new URL(c.req.url);
        url.pathname = path.slice(app.prefix.length);
        c.res = await server.routes.fetch(new Request(url, c.req.raw), c.env);
      }
    });
    return refused ?? c.res;
  }

  function routesOf(host: NodeApp["host"]): Hono<SimulatorEnv> {
    const routes = new Hono<SimulatorEnv>();
    routes.all("/:node/*", async (c) => {
      switch (world.nodeState(c.req.param("node"))) {
        case "up":
          if (c.req.header("x-c3-api-key") !== simulation.apiKey) return c.json({ detail: "Invalid API key" }, 401);
          return await answer(c, host);
        case "booting":
          return c.json({ detail: "the node is booting" }, 502);
        default:
          // Nobody answers.
          c.env.incoming.socket.destroy();
          return RESPONSE_ALREADY_SENT;
      }
    });
    return routes;
  }

  return {
    routes: routesOf("nodes"),
    uiRoutes: routesOf("ui"),

    /** A request for a WebSocket: `/ui/<node>/ws?clientId=…`. */
    upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
      const { pathname, searchParams } = new URL(request.url ?? "/", simulation.url());
      const node = /^\/ui\/([^/]+)\/ws$/.exec(pathname)?.[1] ?? "";
      const [app, server] = (world.nodeState(node) === "up" ? [...serversOf(node)] : []).find(
        ([, candidate]) => candidate.attach !== undefined,
      ) ?? [undefined, undefined];
      const hasKey = request.headers["x-c3-api-key"] === simulation.apiKey;
      const target = { service: app?.service ?? "node", path: pathname, node };
      const refused = faults.take(target, ["status", "reset", "hang"]) !== undefined;
      const call = { at: Date.now(), ...target, method: "GET" };
      if (server?.attach === undefined || !hasKey || refused) {
        journal.call({ ...call, status: undefined });
        socket.destroy();
        return;
      }
      journal.call({ ...call, status: 101 });
      webSockets.handleUpgrade(request, socket, head, (accepted) =>
        server.attach?.(accepted, searchParams.get("clientId") ?? ""),
      );
    },

    /** Restarts the apps of one node, or of all. */
    restart(node: string | undefined): void {
      for (const [name, started] of servers) {
        if (node === undefined || name === node) for (const server of started.values()) server.restart();
      }
    },
  };
}
