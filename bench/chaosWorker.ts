import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Config } from "../src/config/index.ts";
import { createLogger } from "../src/process/log.ts";
import { installRuntime } from "../src/workers/runtime.ts";
import { startWorker } from "../src/workers/worker.ts";

/** A worker of the drill: `npm run worker`, with intervals that no variable of the environment sets. */
const [folder = ""] = process.argv.slice(2);
const configured = z.custom<Config>((value) => typeof value === "object" && value !== null);
const config = configured.parse(JSON.parse(await readFile(`${folder}/config.json`, "utf8")));
installRuntime(createLogger("warn"));
const worker = await startWorker(config, { codePath: `${folder}/workflows.cjs` }, process.env);
process.once("SIGTERM", () => void worker.stop());
process.once("disconnect", () => process.exit(1));
process.send?.("working");
await worker.finished;
process.disconnect?.();
