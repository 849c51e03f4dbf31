import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { Config, S3Config } from "../src/config/index.ts";
import { freePort, startTemporalServer } from "../src/dev/temporalServer.ts";
import { bundleWorkflows } from "../src/workers/workers.ts";
import type { Random } from "./chaosRandom.ts";

/** What can be taken down and brought up again, at the same place. */
export interface Restartable {
  /** Down for `seconds`, by SIGKILL or in order. */
  restart(by: "SIGKILL" | "SIGTERM", seconds: number): Promise<void>;
  stop(): Promise<void>;
}

const quiet = () => {};

/** Below the ports that the system gives to outgoing connections: one of those must not take it meanwhile. */
function portOfItsOwn(): Promise<number> {
  return freePort(20_000 + Math.floor(Math.random() * 10_000), "the drill", quiet);
}

/** A Temporal server on SQLite. */
export async function startTemporal(executable: string, dataDir: string): Promise<Restartable & { address: string }> {
  const port = await portOfItsOwn();
  const start = () => startTemporalServer({ executable, dataDir, port, say: quiet });
  let server = await start();
  const { address } = server;
  return {
    address,
    async restart(by, seconds) {
      if (by === "SIGKILL") {
        const owned = await readFile(join(dataDir, "temporal.owner.json"), "utf8");
        process.kill(z.object({ server: z.number() }).parse(JSON.parse(owned)).server, "SIGKILL");
        await delay(50);
      } else {
        await server.stop();
      }
      await delay(seconds * 1000);
      server = await start();
      if (server.address !== address) throw new Error(`Temporal came back on ${server.address}, not on ${address}`);
    },
    stop: () => server.stop(),
  };
}

/** An S3 server that can be killed, and stalled. */
export interface ObjectServer extends Restartable {
  s3: S3Config;
  /** It takes connections and does not answer. */
  stall(seconds: number): Promise<void>;
}

export async function startObjects(executable: string, folder: string): Promise<ObjectServer> {
  await mkdir(folder, { recursive: true });
  const port = await portOfItsOwn();
  const endpoint = `http://127.0.0.1:${port}`;
  const [accessKey, secretKey] = ["chaos-access", "chaos-secret"];
  const start = async () => {
    const child = spawn(executable, ["--port", `127.0.0.1:${port}`, "posix", folder], {
      env: { PATH: process.env.PATH, ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secretKey },
      stdio: "ignore",
    });
    for (;;) {
      const answered = await fetch(endpoint).then(
        () => true,
        () => false,
      );
      if (answered) return child;
      if (child.exitCode !== null) throw new Error(`the S3 server ended with ${child.exitCode}`);
      await delay(50);
    }
  };
  let child = await start();
  return {
    s3: { endpoint, publicUrl: undefined, region: "us-east-1", accessKey, secretKey, bucket: "chaos" },
    async restart(by, seconds) {
      await end(child, by);
      await delay(seconds * 1000);
      child = await start();
    },
    async stall(seconds) {
      child.kill("SIGSTOP");
      await delay(seconds * 1000);
      child.kill("SIGCONT");
    },
    stop: () => end(child, "SIGTERM"),
  };
}

/** The worker processes; there are always as many as were wanted. */
export interface WorkerProcesses {
  /** Kills the one at `place` (0 to 1 of all) with SIGKILL, and starts another one. */
  replace(place: number): Promise<void>;
  /** Pauses the one at `place`, as a busy host does. */
  stall(place: number, seconds: number): Promise<void>;
  /** Those that ended though nobody had told them to, with their last words; another one was started. */
  failures: string[];
  pids(): number[];
  stop(): Promise<void>;
}

const workerMain = fileURLToPath(new URL("./chaosWorker.ts", import.meta.url));

export async function startWorkerProcesses(config: Config, count: number, folder: string): Promise<WorkerProcesses> {
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  await writeFile(join(folder, "workflows.cjs"), (await bundleWorkflows()).code);
  const log = createWriteStream(join(folder, "workers.log"), { flags: "a" });
  const children: ChildProcess[] = [];
  const ending = new Set<ChildProcess>();
  const failures: string[] = [];
  const restarts: Promise<void>[] = [];
  let isStopping = false;
  const startOne = async (): Promise<ChildProcess | undefined> => {
    const { PATH, HOME } = process.env;
    const env = { PATH, HOME };
    const child = fork(workerMain, [folder], { execArgv: ["--import", "tsx"], env, silent: true });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    let words = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      words = (words + text).slice(-2000);
    });
    child.once("exit", (code, signal) => {
      if (!ending.has(child) && children.includes(child)) {
        failures.push(`a worker ended by itself: ${code ?? signal}\n${words}`);
        children.splice(children.indexOf(child), 1);
        restarts.push(start());
      }
    });
    const working = once(child, "message").then(() => true);
    return (await Promise.race([working, once(child, "exit").then(() => false)])) ? child : undefined;
  };
  const start = async () => {
    while (!isStopping) {
      // A worker that finds no store and no Temporal server ends; whoever watches over it starts it again.
      const child = await startOne();
      if (child !== undefined) {
        children.push(child);
        return;
      }
      await delay(500);
    }
  };
  await Promise.all(Array.from({ length: count }, start));
  return {
    failures,
    pids: () => children.flatMap(({ pid }) => pid ?? []),
    async replace(place) {
      const [child] = children.splice(Math.floor(place * children.length), 1);
      if (child === undefined) return;
      ending.add(child);
      await end(child, "SIGKILL");
      await start();
    },
    async stall(place, seconds) {
      const child = children[Math.floor(place * children.length)];
      child?.kill("SIGSTOP");
      await delay(seconds * 1000);
      child?.kill("SIGCONT");
    },
    async stop() {
      isStopping = true;
      await Promise.all(restarts);
      for (const child of children) ending.add(child);
      await Promise.all(children.map((child) => end(child, "SIGTERM")));
      log.end();
    },
  };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

/** A webhook as it arrived. */
export interface Delivery {
  /** `webhook-id` */
  id: string;
  jobId: string;
  status: string;
  taken: boolean;
}

export interface ChaosReceiver {
  origin: string;
  deliveries: Delivery[];
  /** From now on everything is taken. */
  calm(): void;
  close(): Promise<void>;
}

const told = z.object({ id: z.string(), status: z.string() });
const LATE_MS = 4000;

/** A webhook receiver that refuses, hangs up and dawdles at random; it may have understood what it refuses. */
export async function startReceiver(random: Random): Promise<ChaosReceiver> {
  const deliveries: Delivery[] = [];
  let calm = false;
  const server = createServer(async (request, response) => {
    const { id: jobId, status } = told.parse(JSON.parse(await text(request)));
    const trouble = calm ? 1 : random.next();
    const delivery = { id: String(request.headers["webhook-id"]), jobId, status, taken: trouble >= 0.4 };
    deliveries.push(delivery);
    if (trouble < 0.2) response.writeHead(random.pick([500, 502, 503, 429])).end();
    else if (trouble < 0.3) request.socket.destroy();
    else if (trouble < 0.4) setTimeout(() => response.writeHead(500).end(), LATE_MS).unref();
    else response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the receiver is not listening on a port");
  return {
    origin: `http://127.0.0.1:${address.port}`,
    deliveries,
    calm() {
      calm = true;
    },
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
