import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import type { ComfyVersion } from "./comfyui/answers.ts";
import { createComfyServer } from "./comfyui/comfyui.ts";
import { comput3Routes } from "./comput3/comput3.ts";
import { createNodes, type NodeApp } from "./comput3/nodes.ts";
import { controlRoutes } from "./control/control.ts";
import { createFaults, type Fault, faultSchema } from "./control/faults.ts";
import { createHooks } from "./control/hooks.ts";
import { createJournal } from "./control/journal.ts";
import type { Pace } from "./control/timing.ts";
import { createWorld } from "./control/world.ts";
import type { Simulation, SimulatorEnv } from "./env.ts";
import type { GradioApp, GradioVersion } from "./gradio/app.ts";
import { createCsmApp } from "./gradio/csm.ts";
import { createGradioServer } from "./gradio/gradio.ts";
import { createWhisperApp } from "./gradio/whisper.ts";
import type { Contract } from "./modal/functions.ts";
import { startModalServer } from "./modal/modal.ts";
import { createOllamaServer } from "./ollama/ollama.ts";
import { createMedia } from "./sound/media.ts";
import { createSamples } from "./sound/samples.ts";
import { createSpeech } from "./sound/speech.ts";

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
  comfyuiVersion?: ComfyVersion;
  gradioVersion?: GradioVersion;
  /** The function that `modal` of the result names; both are deployed. */
  modalContract?: Contract;
  ffmpegPath?: string | undefined;
  ffprobePath?: string | undefined;
}

export type Simulator = Awaited<ReturnType<typeof startSimulator>>;

/** What can be changed while it runs. */
interface SimulatorSettings extends Pick<Required<SimulatorOptions>, "speed" | "comfyuiVersion" | "gradioVersion"> {
  renderSeconds: number | undefined;
  /** Calls that may wait for a Gradio app. */
  gradioQueueSize: number | undefined;
  /** `input_file` in newer builds of the WhisperX app. */
  whisperFileParameter: string;
  /** The language that WhisperX takes a recording for, if it is not told. */
  whisperDetects: string;
  /** Whether SONIC sees a face in a picture with sides of 64 px and more; it never does in a smaller one. */
  findsFaces: boolean;
  /** Whether other clients have left things in the history and the queue of ComfyUI. */
  comfyuiStrangers: boolean;
  /** Installed on every new Ollama node. */
  visionModels: string[];
  /** Before the first header of an answer of Ollama. */
  ollamaSilentSeconds: number;
  /** How the lip-sync function hands over its video. */
  modalReturns: "url" | "path" | "bytes";
}

/** Comput3 with its nodes and models, on one port of this machine, with faults on demand. */
export async function startSimulator(options: SimulatorOptions = {}) {
  const { host = "127.0.0.1", port = 0, apiKey = "simulator", launchSeconds = 3, ratePerHour = 0.5 } = options;
  const folder = await mkdtemp(join(tmpdir(), "c3-render-simulator-"));
  const outputs = join(folder, "outputs");
  const files = join(folder, "files");
  await Promise.all([mkdir(outputs), mkdir(files)]);
  const server = createServer();
  let url = "";
  const settings: SimulatorSettings = {
    speed: options.speed ?? 1,
    renderSeconds: options.renderSeconds,
    comfyuiVersion: options.comfyuiVersion ?? "0.3.64",
    gradioVersion: options.gradioVersion ?? "6.31",
    gradioQueueSize: undefined,
    whisperFileParameter: "audio_file",
    whisperDetects: "en",
    findsFaces: true,
    comfyuiStrangers: false,
    visionModels: ["llama3.2-vision:11b"],
    ollamaSilentSeconds: 0,
    modalReturns: "url",
  };
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
  const pace: Pace = { speed: () => settings.speed, renderSeconds: () => settings.renderSeconds };
  const csm = createCsmApp({ journal, media, speech, folder: outputs, ...pace });
  const fileParameter = () => settings.whisperFileParameter;
  const detects = () => settings.whisperDetects;
  const whisper = createWhisperApp({ journal, media, folder: outputs, fileParameter, detects, ...pace });
  const gradio = (name: string, app: GradioApp): NodeApp => ({
    service: app.service,
    host: "nodes",
    prefix: `/${name}`,
    types: /^media:/,
    start: (node, root) =>
      createGradioServer({
        simulation,
        app,
        node,
        root,
        folder: outputs,
        version: () => settings.gradioVersion,
        queueSize: () => settings.gradioQueueSize,
      }),
  });
  const nodes = createNodes(simulation, [
    gradio("csm", csm),
    gradio("whisper", whisper),
    {
      service: "comfyui",
      host: "ui",
      prefix: "",
      types: /^media:/,
      start: (node) => {
        const comfyFolder = join(folder, "comfyui", node);
        return createComfyServer({
          simulation,
          media,
          node,
          folder: comfyFolder,
          version: () => settings.comfyuiVersion,
          findsFaces: () => settings.findsFaces,
          hasStrangers: () => settings.comfyuiStrangers,
          ...pace,
        });
      },
    },
    {
      service: "ollama",
      host: "nodes",
      prefix: "",
      types: /^ollama_webui:/,
      start: (node) =>
        createOllamaServer({
          simulation,
          node,
          models: () => settings.visionModels,
          silentSeconds: () => settings.ollamaSilentSeconds,
          ...pace,
        }),
    },
  ]);
  const modal = await startModalServer({
    simulation,
    media,
    folder: files,
    publish: (path) => `${url}/sim/files/${basename(path)}`,
    returns: () => settings.modalReturns,
    ...pace,
  });

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
  app.route("/ui", nodes.uiRoutes);
  const samples = createSamples({ media, speech, folder });
  app.route("/sim", controlRoutes({ simulation, hooks, samples, filesFolder: files, inject }));

  server.on("request", getRequestListener(app.fetch, { overrideGlobalObjects: false }));
  server.on("upgrade", nodes.upgrade);
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
    modal: {
      serverUrl: modal.url,
      tokenId: "simulator",
      tokenSecret: apiKey,
      ...(options.modalContract === "musetalk-poc"
        ? { contract: "musetalk-poc" as const, app: "musetalk-poc", function: "run_inference" }
        : { contract: "c3-render" as const, app: "musetalk", function: "lip_sync" }),
    },
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
      await modal.close();
      await speech.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
