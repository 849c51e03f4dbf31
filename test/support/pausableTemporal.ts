import { randomUUID } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { z } from "zod";
import { loadConfig } from "../../src/config/index.ts";
import { startTemporalServer } from "../../src/dev/temporalServer.ts";
import { ensureNamespace } from "../../src/temporal/namespace.ts";
import { temporalExecutable } from "./programs.ts";

/** A Temporal server of the test's own, which can be made to accept connections and say nothing. */
export interface PausableTemporal {
  address: string;
  /** Of a namespace that is ready for jobs. */
  client: Client;
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

const ownerSchema = z.object({ server: z.number() });

export async function startPausableTemporal(): Promise<PausableTemporal> {
  const dataDir = await mkdtemp(join(tmpdir(), "c3-render-temporal-"));
  const server = await startTemporalServer({ executable: await temporalExecutable(), dataDir, port: 0, say() {} });
  const { address } = server;
  const { server: pid } = ownerSchema.parse(JSON.parse(await readFile(join(dataDir, "temporal.owner.json"), "utf8")));
  const { temporal } = loadConfig({ TEMPORAL_ADDRESS: address, TEMPORAL_NAMESPACE: `slow-${randomUUID()}` });
  await ensureNamespace(temporal);
  const connection = await Connection.connect({ address });
  const resume = () => void process.kill(pid, "SIGCONT");
  return {
    address,
    client: new Client({ connection, namespace: temporal.namespace }),
    pause: () => void process.kill(pid, "SIGSTOP"),
    resume,
    async stop() {
      resume();
      await connection.close();
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
