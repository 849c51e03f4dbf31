import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Config } from "../../src/config.ts";

export interface WorkerProcess {
  /** SIGKILL: nothing is handed over. */
  kill(): Promise<void>;
  /** SIGTERM. */
  stop(): Promise<void>;
  /** What it printed. */
  output(): string;
}

const main = fileURLToPath(new URL("../../src/workers/main.ts", import.meta.url));

/** A worker in a process of its own, as `npm run worker` starts it. Resolves when it works. */
export async function startWorkerProcess(config: Config): Promise<WorkerProcess> {
  const { comput3, temporal, gpu, embedded, api, modal, portrait } = config;
  const child = spawn(process.execPath, ["--import", "tsx", main], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      TEMPORAL_ADDRESS: temporal.address,
      TEMPORAL_NAMESPACE: temporal.namespace,
      GPU_PROVIDER: "simulator",
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
      C3_RENDER_DATA_DIR: embedded.dataDir,
      STORAGE_SHARED: "true",
      OUTPUT_DIR: config.outputDir,
      PUBLIC_URL: `http://127.0.0.1:${api.port}`,
      WEBHOOK_SECRET: config.webhook.secrets.join(","),
      TRUSTED_ORIGINS: config.trustedOrigins.join(","),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  await untilWorking(child, () => output);
  return {
    kill: () => end(child, "SIGKILL"),
    stop: () => end(child, "SIGTERM"),
    output: () => output,
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, "close");
  child.kill(signal);
  await closed;
}

function untilWorking(child: ChildProcess, output: () => string): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = () => {
      if (output().includes("the worker is running")) resolve();
    };
    child.stdout?.on("data", look);
    child.once("close", (code) => reject(new Error(`the worker ended with ${code}: ${output()}`)));
  });
}
