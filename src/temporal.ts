import { readFileSync } from "node:fs";
import { type Client, Connection, Client as TemporalClient } from "@temporalio/client";
import type { DataConverter } from "@temporalio/common";
import type { Config, TemporalConfig } from "./config.ts";

/** Everything that the client (API, activities) and the workers must agree on. */

export { searchAttributes, taskQueues } from "./workflows/names.ts";

export const dataConverter: DataConverter = {};

/** How client and worker connect. */
export function connectionOptions(temporal: TemporalConfig) {
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
