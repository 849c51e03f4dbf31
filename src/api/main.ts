import { type Config, ConfigError, loadConfig } from "../config.ts";
import { createLogger } from "../log.ts";
import { createObjectStore } from "../storage/index.ts";
import { connectClient } from "../temporal.ts";
import { createApp } from "./app.ts";
import { listen } from "./server.ts";

const CLOSE_GRACE_MS = 10_000;

/** The process of `npm run api`: serves until SIGTERM or SIGINT; a second one leaves at once. */
async function main(): Promise<void> {
  const config = loadConfig(process.env);
  refuseHalfAStack(config);
  const log = createLogger(config.logLevel);
  const client = await connectClient(config);
  const store = createObjectStore(config);
  const server = await listen(createApp({ config, client, store, log }), config.api, log);

  const stop = async (signal: NodeJS.Signals) => {
    log.info({ signal }, "the API stops");
    process.once(signal, () => process.exit(1));
    await server.close(CLOSE_GRACE_MS);
    await client.connection.close();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      stop(signal).catch(fail);
    });
  }
}
