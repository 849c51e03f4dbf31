import { readFileSync } from "node:fs";
import { type Client, Connection, type ConnectionOptions, Client as TemporalClient } from "@temporalio/client";
import { type DataConverter, defineSearchAttributeKey } from "@temporalio/common";
import type { Config, TemporalConfig } from "./config.ts";

/** Everything that the client (API, activities) and the workers must agree on. */

/** The task queues. Long activities have queues of their own, so that renders never starve the short steps. */
export const taskQueues = {
  /** Workflows and quick activities. */
  main: "c3-render",
  /** Activities that hold or watch a paid GPU; they must never wait for a slot. */
  gpu: "c3-render-gpu",
  /** Downloading and preparing inputs. */
  inputs: "c3-render-inputs",
} as const;

/** Search attributes of every job; no personal data in them. */
export const searchAttributes = {
  jobType: defineSearchAttributeKey("JobType", "KEYWORD"),
  jobState: defineSearchAttributeKey("JobState", "KEYWORD"),
  tenant: defineSearchAttributeKey("Tenant", "KEYWORD"),
  completeBy: defineSearchAttributeKey("CompleteBy", "DATETIME"),
} as const;

export const dataConverter: DataConverter = {};

/** How client and worker connect. */
export function connectionOptions(temporal: TemporalConfig): Pick<ConnectionOptions, "address" | "tls" | "apiKey"> {
  const { address = "127.0.0.1:7233", apiKey, tls } = temporal;
  return {
    address,
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(tls === undefined
      ? {}
      : {
          tls: {
            ...(tls.serverName === undefined ? {} : { serverNameOverride: tls.serverName }),
            ...(tls.caFile === undefined ? {} : { serverRootCACertificate: readFileSync(tls.caFile) }),
            ...(tls.certFile === undefined || tls.keyFile === undefined
              ? {}
              : { clientCertPair: { crt: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) } }),
          },
        }),
  };
}

/** A client of the configured namespace. Close it with `client.connection.close()`. */
export async function connectClient(config: Config): Promise<Client> {
  const connection = await Connection.connect(connectionOptions(config.temporal));
  return new TemporalClient({ connection, namespace: config.temporal.namespace, dataConverter });
}
