import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Client, Connection, Client as TemporalClient } from "@temporalio/client";
import type { DataConverter } from "@temporalio/common";
import type { Config, TemporalConfig } from "../config/index.ts";
import { createPayloadCodec, type Unreadable } from "./payloadCodec.ts";

/** Everything that the client (API, activities) and the workers must agree on. */

export { searchAttributes, taskQueues } from "../contracts/names.ts";

/** The name under which all workers of this service announce their versions to Temporal. */
export const DEPLOYMENT = "c3-render";

/** The module that makes failures encryptable, for client and worker and in the bundle; a script once it is built. */
export const failureConverterPath = fileURLToPath(
  new URL(`../workflows/failureConverter.${import.meta.url.endsWith(".ts") ? "ts" : "js"}`, import.meta.url),
);

/** How values become payloads: encrypted when there are keys, failures' messages included. */
export function dataConverter({ payloadKeys }: TemporalConfig, unreadable: Unreadable): DataConverter {
  return {
    payloadCodecs: [createPayloadCodec(payloadKeys, unreadable)],
    ...(payloadKeys.length > 0 && { failureConverterPath }),
  };
}

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
  const { namespace } = config.temporal;
  return new TemporalClient({ connection, namespace, dataConverter: dataConverter(config.temporal, "mark") });
}
