import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { comput3Routes } from "./comput3.ts";
import { controlRoutes } from "./control.ts";
import { createCsmApp } from "./csm.ts";
import type { Simulation, SimulatorEnv } from "./env.ts";
import { createFaults, type Fault, faultSchema } from "./faults.ts";
import { createHooks } from "./hooks.ts";
import { createJournal } from "./journal.ts";
import { createMedia, wavOf } from "./media.ts";
import { createNodes } from "./nodes.ts";
import { createSpeech } from "./speech.ts";
import { createWorld } from "./world.ts";

export interface SimulatorOptions {
  host?: string;
  /** 0 takes a free one. */
  port?: number;
  apiKey?: string;
  /** From a launch until the node answers. */
  launchSeconds?: number;
  ratePerHour?: number;
  /** Factor of the time that a render takes; 0: as fast as it can. */
  speed?: number;
  /** A fixed time per render instead. */
  renderSeconds?: number;
  ffmpegPath?: string | undefined;
  ffprobePath?: string | undefined;
}

export type Simulator = Awaited<ReturnType<typeof startSimulator>>;

const REFERENCE_TEXT = "This is the voice that you are asked to speak with.";

/** Comput3 with its nodes and models, on one port of this machine, with faults on demand. */
export async function startSimulator(options: SimulatorOptions = {}) {
  const { host = "127.0.0.1", port = 0, apiKey = "simulator", launchSeconds = 3, ratePerHour = 0.5 } = options;
  const folder = await mkdtemp(join(tmpdir(), "c3-render-simulator-"));
  const outputs = join(folder, "outputs");
  const files = join(folder, "files");
  await Promise.all([mkdir(outputs), mkdir(files)]);
  const server = createServer();
  let url = "";
  const settings = { speed: options.speed ?? 1, renderSeconds: options.renderSeconds };
  const simulation: Simulation = {
    world: createWorld({ launchSeconds, ratePerHour }),
    faults: createFaults(),
    journal: createJournal(),
    apiKey,
    url: () => url,
  };
  const { world, journal, faults } = simulation;
  const media = createMedia({ ffmpeg: options.ffmpegPath, ffprobe: options.ffprobePath });
  const speech = createSpeech();
  const hooks = createHooks();
  const csm = createCsmApp({
    journal,
    media,
    speech,
    folder: outputs,
    speed: () => settings.speed,
    renderSeconds: () => settings.renderSeconds,
  });
  const nodes = createNodes(simulation, { csm }, outputs);

  function inject(fault: Fault): void {
    const hit = fault.node === undefined ? world.running().map(({ node }) => node) : [fault.node];
    if (fault.action === "kill_node") hit.forEach(world.kill);
    else if (fault.action === "vanish") hit.forEach(world.vanish);
    else if (fault.action === "restart_app") nodes.restart(fault.node);
    else faults.add(fault);
  }

  const app = new Hono<SimulatorEnv>();
  app.get("/", (c) => c.text("The c3-render simulator: nothing here comes from a model."));
  app.route("/api/v0", comput3Routes(simulation));
  app.route("/nodes", nodes.routes);
  const samples = {
    "voice.wav": async () => ({
      body: wavOf(await speech.speak("slt", REFERENCE_TEXT), 2),
      contentType: "audio/wav",
    }),
  };
  app.route("/sim", controlRoutes({ simulation, hooks, samples, filesFolder: files, inject }));

  server.on("request", getRequestListener(app.fetch, { overrideGlobalObjects: false }));
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the simulator is not listening on a port");
  url = `http://${host}:${address.port}`;

  return {
    url,
    apiKey,
    comput3Url: `${url}/api/v0`,
    nodeUrlTemplate: `${url}/nodes/{node}`,
    comfyuiUrlTemplate: `${url}/ui/{node}`,
    /** May be changed while it runs. */
    settings,
    instances: world.instances,
    renders: () => journal.renders,
    calls: () => journal.calls,
    received: hooks.received,
    fault: (fault: Omit<Fault, "probability"> & { probability?: number }) => inject(faultSchema.parse(fault)),
    clearFaults: faults.clear,
    async close() {
      world.shutDown();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      await speech.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
