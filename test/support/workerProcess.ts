import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import type { Config } from "../../src/config/index.ts";
import { tsx } from "./command.ts";

export interface OwnProcess {
  /** SIGKILL: nothing is handed over. */
  kill(): Promise<void>;
  /** SIGTERM. @returns the exit code */
  stop(): Promise<number | null>;
  /** SIGSTOP: it lives, and does nothing. */
  pause(): void;
  resume(): void;
  /** What it printed. */
  output(): string;
}

export type WorkerProcess = OwnProcess;

/** A worker in a process of its own, as `npm run worker` starts it. Resolves when it works. */
export async function startWorkerProcess(config: Config, env: NodeJS.ProcessEnv = {}): Promise<WorkerProcess> {
  const { comput3, gpu, api, modal, portrait } = config;
  return await start("workers/main.ts", "the worker is running", {
    ...commonEnv(config),
    C3_API_URL: comput3.apiUrl,
    C3_API_KEY: comput3.apiKey,
    NODE_URL_TEMPLATE: comput3.nodeUrlTemplate,
    COMFYUI_URL_TEMPLATE: comput3.comfyuiUrlTemplate,
    RENDER_POLLING_INTERVAL: String(portrait.pollIntervalMs / 1000),
    MODAL_SERVER_URL: modal?.serverUrl,
    MODAL_TOKEN_ID: modal?.tokenId,
    MODAL_TOKEN_SECRET: modal?.tokenSecret,
    GPU_BOOT_DELAY: String(gpu.bootDelayMs / 1000),
    GPU_IDLE_TIMEOUT: String(gpu.idleTimeoutMs / 1000),
    GPU_WATCH_INTERVAL: String(gpu.watchIntervalMs / 1000),
    OUTPUT_DIR: config.outputDir,
    PUBLIC_URL: `http://127.0.0.1:${api.port}`,
    WEBHOOK_SECRET: config.webhook.secrets.join(","),
    ...env,
  });
}

/** An API in a process of its own, as `npm run api` starts it. Resolves when it listens. */
export async function startApiProcess(config: Config, port: number, env: NodeJS.ProcessEnv = {}): Promise<OwnProcess> {
  return await start("api/main.ts", "the API is listening", { ...commonEnv(config), PORT: String(port), ...env });
}

function commonEnv({ temporal, embedded, trustedOrigins, gpu }: Config): NodeJS.ProcessEnv {
  const nodes = gpu.nodes.map(({ comfyuiUrl, ...node }) => ({ ...node, comfyui_url: comfyuiUrl }));
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    TEMPORAL_ADDRESS: temporal.address,
    TEMPORAL_NAMESPACE: temporal.namespace,
    GPU_PROVIDER: gpu.provider ?? "simulator",
    GPU_NODES: nodes.length === 0 ? undefined : JSON.stringify(nodes),
    C3_RENDER_DATA_DIR: embedded.dataDir,
    STORAGE_SHARED: "true",
    TRUSTED_INPUT_ORIGINS: trustedOrigins.inputs.join(","),
    TRUSTED_WEBHOOK_ORIGINS: trustedOrigins.webhooks.join(","),
  };
}

async function start(main: string, ready: string, env: NodeJS.ProcessEnv): Promise<OwnProcess> {
  const path = fileURLToPath(new URL(`../../src/${main}`, import.meta.url));
  // Not in the project's folder, whose `.env` it would read.
  const args = ["--import", tsx, path];
  const child = spawn(process.execPath, args, { env, cwd: tmpdir(), stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  await untilReady(child, () => output, ready);
  return {
    kill: async () => void (await end(child, "SIGKILL")),
    stop: () => end(child, "SIGTERM"),
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    output: () => output,
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    const closed = once(child, "close");
    child.kill(signal);
    await closed;
  }
  return child.exitCode;
}

function untilReady(child: ChildProcess, output: () => string, ready: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (output().includes(ready)) resolve();
    };
    child.stdout?.on("data", look);
    child.once("close", (code) => reject(new Error(`it ended with ${code}: ${output()}`)));
  });
}
