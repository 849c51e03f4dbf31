import { readEnvFile } from "../config/envFile.ts";
import { loadConfig } from "../config/index.ts";
import { fail } from "../process/lifecycle.ts";
import { providerNotice } from "../workers/providerNotice.ts";
import type { Embedded } from "./embedded.ts";
import { runEmbedded } from "./runEmbedded.ts";

/** `npm start`: everything on this machine, until Ctrl-C. */
async function main(): Promise<void> {
  readEnvFile();
  const say = (line: string) => console.log(line);
  const isWell = await runEmbedded(loadConfig(process.env), say, async (stack, signal) => {
    say(welcome(stack));
    void sayProvider(stack, say);
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  });
  process.exit(isWell ? 0 : 1);
}

/** It stays in sight below the welcome; the log, which says it too, scrolls on. */
async function sayProvider({ providerTrouble }: Embedded, say: (line: string) => void): Promise<void> {
  const trouble = await providerTrouble.catch(() => undefined);
  if (trouble !== undefined) say(`\n!! ${providerNotice(trouble)}\n`);
}

function welcome({ apiUrl, temporalUiUrl, simulator, config }: Embedded): string {
  const jobs = `${temporalUiUrl}/namespaces/${config.temporal.namespace}/workflows`;
  const lines = [
    "",
    "c3-render is running",
    `  API              ${apiUrl}`,
    `  Dashboard        ${apiUrl}/dashboard`,
    `  Documentation    ${apiUrl}/docs`,
    temporalUiUrl === undefined ? undefined : `  Temporal Web UI  ${jobs}`,
    simulator === undefined
      ? undefined
      : `  Simulator        ${simulator.url} (no C3_API_KEY: GPUs and results are simulated)`,
    "",
    `  curl -s ${apiUrl}/csm -H 'Content-Type: application/json' -d '{"text": "Hello from c3-render."}'`,
    "",
    "Ctrl-C stops it; unfinished jobs go on at the next start.",
  ];
  return lines.filter((line) => line !== undefined).join("\n");
}

main().catch(fail);
