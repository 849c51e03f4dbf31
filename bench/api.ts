import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import autocannon from "autocannon";
import { loadConfig } from "../src/config/index.ts";
import { findProgram } from "../src/dev/binaries.ts";
import { temporalCli } from "../src/dev/programs.ts";
import { startStack } from "../src/dev/stack.ts";
import { freePort, startTemporalServer } from "../src/dev/temporalServer.ts";
import { createLogger } from "../src/process/log.ts";
import { bundleWorkflows } from "../src/workers/workers.ts";
import { createSubmit } from "./submit.ts";

const CONNECTIONS = [1, 16, 64];
const SECONDS = 10;
const UNLIMITED = "100000000";
const job = { text: "Hello.", voice: "conversational_a" };
const submission = {
  method: "POST" as const,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(job),
};

/**
 * What one API process takes: submissions and questions for a job's state, at several numbers of connections.
 * No worker runs, so that nothing but API and Temporal server share the machine with the load generator, which
 * has a thread of its own.
 */
export async function api(): Promise<void> {
  const say = (line: string) => console.log(line);
  const folder = await mkdtemp(join(tmpdir(), "c3-render-bench-"));
  const executable = await findProgram(temporalCli(process.env.TEMPORAL_CLI_PATH), process.env, say);
  const server = await startTemporalServer({ executable, port: 0, say, dataDir: folder });
  const config = loadConfig({
    PORT: String(await freePort(0, "the API", say)),
    SIM_PORT: "0",
    RATE_LIMIT: UNLIMITED,
    MAX_QUEUED: UNLIMITED,
    C3_RENDER_DATA_DIR: folder,
    TEMPORAL_ADDRESS: server.address,
    TEMPORAL_NAMESPACE: `bench-${randomUUID()}`,
  });
  const stack = await startStack({
    config,
    log: createLogger("silent"),
    workflowBundle: await bundleWorkflows(),
    env: process.env,
    withoutWorker: true,
  });
  try {
    say(`${cpus().length} cores, Temporal on SQLite, one API process, ${SECONDS} s each\n`);
    say("                connections   requests/s    p50 ms    p99 ms   not 200");
    for (const connections of CONNECTIONS)
      await load("POST /csm", stack.apiUrl, connections, { path: "/csm", ...submission }, say);
    const id = await createSubmit(stack.apiUrl, { say }).submit(job);
    for (const connections of CONNECTIONS) {
      await load("GET /status", stack.apiUrl, connections, { method: "GET", path: `/status/${id}` }, say);
    }
  } finally {
    await stack.stop();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function load(
  name: string,
  url: string,
  connections: number,
  request: autocannon.Request,
  say: (line: string) => void,
): Promise<void> {
  const { requests, latency, non2xx, errors } = await autocannon({
    url,
    connections,
    duration: SECONDS,
    workers: 1,
    requests: [request],
  });
  const columns = [connections, Math.round(requests.average), latency.p50, latency.p99, non2xx + errors];
  say(
    `${name.padEnd(16)}${columns.map((value, index) => String(value).padStart([11, 13, 10, 10, 10][index] ?? 0)).join("")}`,
  );
}
