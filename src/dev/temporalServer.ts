import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Connection } from "@temporalio/client";
import { z } from "zod";
import { type Config, ownOrigin } from "../config/index.ts";
import { messageOf } from "../lib/text.ts";
import type { Say } from "./binaries.ts";
import { type Supervision, untilSilent } from "./temporalHealth.ts";

export interface TemporalServerOptions {
  executable: string;
  /** Folder of the database and the pid file; undefined keeps everything in memory. */
  dataDir?: string;
  /** Wanted ports; the next free one is taken when one is in use. 0 takes any. */
  port: number;
  /** undefined: no Web UI. */
  uiPort?: number;
  /** Where the Web UI has payloads decrypted. */
  uiCodecEndpoint?: string | undefined;
  /** Set: it is started again, on its database, when it ends or answers nothing any more. */
  supervision?: Supervision;
  /** Dynamic configuration on top of the tuning. */
  dynamicConfig?: Record<string, unknown>;
  say: Say;
}

export interface TemporalServer {
  address: string;
  uiUrl: string | undefined;
  /** How it ended for good, when nobody has stopped it. */
  ended: Promise<string>;
  /** Ends the server; what it knows stays in its database. */
  stop(): Promise<void>;
}

/**
 * The development server is meant for single calls; these settings make it fit for a service. By default its
 * one history shard hands over 20 tasks a second, so that every step of a workflow waits up to 50 ms.
 */
const tuning: Record<string, unknown> = {
  "history.transferProcessorMaxPollRPS": 5000,
  "history.timerProcessorMaxPollRPS": 1000,
  "history.visibilityProcessorMaxPollRPS": 200,
  // The bookkeeping of the queue grows with what is not acknowledged.
  "history.transferProcessorUpdateAckInterval": "1s",
  "system.enableActivityEagerExecution": true,
  "matching.numTaskqueueReadPartitions": 1,
  "matching.numTaskqueueWritePartitions": 1,
};

/** Which process runs the server of a folder. */
const ownedSchema = z.object({ server: z.number().int().positive(), owner: z.number().int().positive() });
type Owned = z.infer<typeof ownedSchema>;

const START_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 10_000;
/** How often a server is started again, in how long. */
const MAX_RESTARTS = 5;
const RESTARTS_WITHIN_MS = 600_000;

/**
 * Starts a Temporal server of our own. It is detached, because Ctrl-C reaches every process of a terminal and
 * this one must outlive the others. It ends with this process, however that exits; a server that a killed process left
 * behind on the same database is ended first.
 */
export async function startTemporalServer(options: TemporalServerOptions): Promise<TemporalServer> {
  const { dataDir, supervision, say } = options;
  if (dataDir !== undefined) {
    await mkdir(dataDir, { recursive: true });
    // The database has what people submit; the server itself leaves it readable for everybody.
    await chmod(dataDir, 0o700);
    await endOrphan(dataDir, say);
  }
  const port = await freePort(options.port, "Temporal", say);
  const uiPort = options.uiPort === undefined ? undefined : await freePort(options.uiPort, "the Temporal Web UI", say);
  const address = `127.0.0.1:${port}`;
  const launch = () => launchServer(options, port, uiPort);
  let isStopped = false;
  let serving = launch();
  const first = await serving;
  const withLog = (how: string) => `${how}${seeLog(dataDir)}`;
  const ended = supervision === undefined ? endOf(first).then(withLog) : supervise(supervision);

  /** Starts it again, on the same database, for as long as that helps. @returns how it ended at last */
  async function supervise(checks: Supervision): Promise<string> {
    const restarts: number[] = [];
    for (;;) {
      const child = await serving;
      const trouble = await troubleOf(child, address, checks);
      const since = performance.now() - RESTARTS_WITHIN_MS;
      if (isStopped || restarts.filter((at) => at > since).length >= MAX_RESTARTS) return withLog(trouble);
      restarts.push(performance.now());
      say(withLog(`Starting Temporal again: ${trouble}`));
      child.kill("SIGKILL");
      await endOf(child);
      if (isStopped) return withLog(trouble);
      serving = launch();
      const failure = await serving.then(() => undefined, messageOf);
      if (failure !== undefined) return `${trouble}, and could not be started again (${failure})`;
    }
  }

  return {
    address,
    uiUrl: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`,
    // An end that was asked for is no news.
    ended: ended.then((how) => (isStopped ? new Promise(() => {}) : how)),
    async stop() {
      isStopped = true;
      const child = await serving.catch(() => undefined);
      if (child !== undefined) await stopChild(child);
      if (dataDir !== undefined) await rm(ownerFile(dataDir), { force: true });
    },
  };
}

/** @returns its process, once it serves */
async function launchServer(options: TemporalServerOptions, port: number, uiPort: number | undefined) {
  const { dataDir } = options;
  const child = spawnServer(options, port, uiPort);
  endWithThisProcess(child);
  await once(child, "spawn");
  if (dataDir !== undefined && child.pid !== undefined) {
    const owned: Owned = { server: child.pid, owner: process.pid };
    // Half a file, of a process that was killed while it wrote it, would stop every later start.
    await writeFile(`${ownerFile(dataDir)}.new`, JSON.stringify(owned));
    await rename(`${ownerFile(dataDir)}.new`, ownerFile(dataDir));
  }
  try {
    await untilServing(`127.0.0.1:${port}`, child, dataDir);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  return child;
}

/** Resolves when the process has ended, or has answered nothing for a while. @returns what happened, in words */
async function troubleOf(child: ChildProcess, address: string, checks: Supervision): Promise<string> {
  const over = new AbortController();
  try {
    return await Promise.race([endOf(child), untilSilent(address, checks, over.signal)]);
  } finally {
    over.abort();
  }
}

function spawnServer(options: TemporalServerOptions, port: number, uiPort: number | undefined): ChildProcess {
  const { executable, dataDir, uiCodecEndpoint } = options;
  const args = ["server", "start-dev", "--ip", "127.0.0.1", "--port", String(port), "--log-level", "error"];
  args.push(...(uiPort === undefined ? ["--headless"] : ["--ui-port", String(uiPort)]));
  if (uiCodecEndpoint !== undefined) args.push("--ui-codec-endpoint", uiCodecEndpoint);
  if (dataDir !== undefined) {
    args.push("--db-filename", join(dataDir, "temporal.db"));
    args.push("--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=normal");
  }
  for (const [key, value] of Object.entries({ ...tuning, ...options.dynamicConfig })) {
    args.push("--dynamic-config-value", `${key}=${JSON.stringify(value)}`);
  }
  const log = dataDir === undefined ? "ignore" : openSync(logFile(dataDir), "a");
  const child = spawn(executable, args, { detached: true, stdio: ["ignore", log, log] });
  if (typeof log === "number") closeSync(log);
  child.unref();
  return child;
}

/** Nothing asynchronous runs when a process exits; the server needs nobody for going down in order. */
function endWithThisProcess(child: ChildProcess): void {
  const end = () => void child.kill("SIGTERM");
  process.once("exit", end);
  child.once("exit", () => process.off("exit", end));
}

function endOf(child: ChildProcess): Promise<string> {
  const how = () => `the Temporal server ended (${child.signalCode ?? `code ${child.exitCode}`})`;
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(how());
  return new Promise((resolve) => child.once("exit", () => resolve(how())));
}

async function untilServing(address: string, child: ChildProcess, dataDir: string | undefined): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    if (child.exitCode !== null) {
      throw new Error(`the Temporal server ended at its start with code ${child.exitCode}${seeLog(dataDir)}`);
    }
    try {
      const connection = await Connection.connect({ address, connectTimeout: "2s" });
      await connection.close();
      return;
    } catch (error) {
      if (performance.now() > deadline)
        throw new Error(`the Temporal server did not answer on ${address}`, { cause: error });
      await delay(50);
    }
  }
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/**
 * A server that outlived the process that started it holds the database and the ports.
 * @throws when that process still runs: two stacks cannot share a database
 */
async function endOrphan(dataDir: string, say: Say): Promise<void> {
  const text = await readFile(ownerFile(dataDir), "utf8").catch(() => undefined);
  if (text === undefined) return;
  const { server, owner } = ownedSchema.parse(JSON.parse(text));
  if (!(await isServerOf(server, dataDir))) return;
  if (owner !== process.pid && isAlive(owner)) {
    throw new Error(
      `c3-render already runs on ${dataDir} (pid ${owner}). Stop it first, or give this one a folder of its own: C3_RENDER_DATA_DIR`,
    );
  }
  say(`Ending the Temporal server that an earlier run left behind (pid ${server}) …`);
  process.kill(server, "SIGTERM");
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (await isServerOf(server, dataDir)) {
    if (performance.now() > deadline) process.kill(server, "SIGKILL");
    await delay(50);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Pids are reused: it is ours only if it runs on this database. */
async function isServerOf(pid: number, dataDir: string): Promise<boolean> {
  if (!isAlive(pid)) return false;
  const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => undefined);
  // Where the system tells nothing of other processes, the file is believed.
  return commandLine === undefined ? process.platform !== "linux" : commandLine.includes(join(dataDir, "temporal.db"));
}

/** The API as the Web UI's codec; there is nothing to decrypt without keys. */
export function uiCodecEndpoint({ api, temporal }: Config): string | undefined {
  if (temporal.payloadKeys.length === 0) return undefined;
  return `${api.publicUrl ?? ownOrigin(api)}/codec`;
}

function ownerFile(dataDir: string): string {
  return join(dataDir, "temporal.owner.json");
}

function seeLog(dataDir: string | undefined): string {
  return dataDir === undefined ? "" : `; see ${logFile(dataDir)}`;
}

function logFile(dataDir: string): string {
  return join(dataDir, "temporal.log");
}

/** `wanted`, or the next free port after it. 0 takes any free one. */
export async function freePort(wanted: number, user: string, say: Say): Promise<number> {
  for (let port = wanted; ; port += 1) {
    const found = await tryPort(port);
    if (found !== undefined) {
      if (wanted !== 0 && found !== wanted) say(`Port ${wanted} is taken; ${user} uses ${found}`);
      return found;
    }
    if (port >= wanted + 100) throw new Error(`no free port for ${user} between ${wanted} and ${port}`);
  }
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" || error.code === "EACCES" ? resolve(undefined) : reject(error),
    );
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : undefined));
    });
  });
}
