import { loadConfig } from "../config.ts";
import { fail, stopOnSignal } from "../processes.ts";
import { providerNotice } from "../workers/providerNotice.ts";
import { type Embedded, startEmbedded } from "./embedded.ts";
import { openInstances } from "./instances.ts";

/** `npm start`: everything on this machine, until Ctrl-C. */
async function main(): Promise<void> {
  const say = (line: string) => console.log(line);
  const config = loadConfig(process.env);
  const stack = await startEmbedded({ config, env: process.env, say });
  say(welcome(stack));
  void sayProvider(stack, say);
  const interrupted = stopOnSignal(
    async () => {
      say("\nStopping … (once more to leave at once)");
      await stack.shutDown();
      say("Stopped.");
    },
    () => void leaveAtOnce(stack, say),
  );
  await Promise.race([stack.finished, interrupted]);
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

const ANSWER_WITHIN_MS = 2000;

/** Says what is still paid for. */
async function leaveAtOnce({ client, simulator }: Embedded, say: (line: string) => void): Promise<void> {
  try {
    const open = await client.withDeadline(Date.now() + ANSWER_WITHIN_MS, () => openInstances(client));
    const paid = simulator === undefined ? "still paid for" : "simulated, so not paid for";
    say(open.length === 0 ? "No instance is running." : `Left running (${paid}): ${open.join(", ")}`);
  } catch (error) {
    say(`Which instances are still paid for is not known: ${error instanceof Error ? error.message : error}`);
  } finally {
    process.exit(1);
  }
}

main().catch(fail);
