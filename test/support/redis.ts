import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { freePort } from "../../src/dev/temporalServer.ts";
import { eventually } from "./eventually.ts";

export interface TestRedis {
  url: string;
  stop(): Promise<void>;
}

/**
 * A Redis server of one's own, from REDIS_SERVER_PATH or the PATH (Debian: redis-server); undefined where there is none.
 * @param port of one that was stopped before
 */
export async function startRedis(port?: number): Promise<TestRedis | undefined> {
  const chosen = port ?? (await freePort(0, "Redis", () => {}));
  const executable = process.env.REDIS_SERVER_PATH ?? "redis-server";
  const options = ["--port", String(chosen), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const server = spawn(executable, options, { cwd: tmpdir(), stdio: ["ignore", "pipe", "ignore"] });
  let output = "";
  server.stdout.on("data", (text) => {
    output += text;
  });
  const absent = await Promise.race([
    once(server, "error"),
    eventually("Redis is ready", () => (output.includes("Ready to accept connections") ? "ready" : undefined)),
  ]);
  if (absent !== "ready") return undefined;
  return { url: `redis://127.0.0.1:${chosen}`, stop: () => end(server) };
}

async function end(server: ChildProcess): Promise<void> {
  const ended = once(server, "exit");
  server.kill("SIGKILL");
  await ended;
}
