import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { loadConfig } from "../config.ts";
import type { JobView } from "../jobs/job.ts";
import { isFinal, jobStates } from "../jobs/states.ts";
import { fail } from "../processes.ts";
import { ids } from "../workflows/names.ts";
import type { Say } from "./binaries.ts";
import { type Embedded, startEmbedded } from "./embedded.ts";

const TEXT = "Hello! This is c3-render, speaking from a workflow that cannot get lost.";
const POLL_MS = 100;
const HOOK = "demo";

const submittedSchema = z.object({ id: z.string() });
const statusSchema = z.object({ status: z.enum(jobStates), error: z.string().optional() });
const resultSchema = z.object({ result_url: z.string() });
const memoSchema = z.object({ view: z.custom<JobView>((value) => typeof value === "object" && value !== null) });

/** `npm run demo`: starts everything, renders a job of every kind, saves what came of it, and ends. */
async function main(): Promise<void> {
  const say: Say = (line) => console.log(line);
  // The demo shows results; the log of every step is for `npm start`.
  const config = loadConfig({ LOG_LEVEL: "warn", ...process.env });
  const stack = await startEmbedded({ config, env: process.env, say });
  try {
    await render(stack, say);
  } finally {
    say("");
    await stack.shutDown();
  }
  say("Done. `npm start` brings the stack up again, with these jobs in it.");
}

async function render(stack: Embedded, say: Say): Promise<void> {
  const { simulator, apiUrl, config } = stack;
  say(
    `\nRendering on ${simulator === undefined ? "Comput3" : "the simulator (there is no C3_API_KEY)"}: csm, "${TEXT}"`,
  );
  const hook = simulator && { notify_url: `${simulator.url}/sim/hooks/${HOOK}` };
  const body = JSON.stringify({ text: TEXT, voice: "conversational_a", ...hook });
  const { id } = submittedSchema.parse(await ask(stack, "/csm", { method: "POST", body }));
  await untilSuccess(stack, id);
  const { result_url: resultUrl } = resultSchema.parse(await ask(stack, `/result/${id}`));
  const file = join(config.outputDir, `${id}.mp3`);
  await save(resultUrl, file);
  const { memo } = await stack.client.workflow.getHandle(ids.job(id)).describe();
  say(stagesOf(memoSchema.parse(memo).view));
  say(`  result     ${file}${simulator === undefined ? "" : "  (a simulated voice)"}`);
  say(`  link       ${resultUrl}`);
  if (simulator !== undefined) say(`  webhook    ${await webhookBody(stack)}`);
  if (stack.temporalUiUrl !== undefined) {
    const path = `/namespaces/${config.temporal.namespace}/workflows/${ids.job(id)}`;
    say(`  workflow   ${stack.temporalUiUrl}${path}`);
  }
  say(`  API        ${apiUrl}  (links work while \`npm start\` runs)`);
}

/** @throws with the API's own words when it refuses */
async function ask({ apiUrl, config }: Embedded, path: string, init: RequestInit = {}): Promise<unknown> {
  const key = config.api.key === undefined ? {} : { "X-C3-RENDER-KEY": config.api.key };
  const response = await fetch(`${apiUrl}${path}`, {
    ...init,
    headers: { "Content-Type": "application/json", ...key },
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return await response.json();
}

async function untilSuccess(stack: Embedded, id: string): Promise<void> {
  for (;;) {
    const { status, error } = statusSchema.parse(await ask(stack, `/status/${id}`));
    if (status === "success") return;
    if (isFinal(status)) throw new Error(`job ${id} is ${status}: ${error}`);
    await delay(POLL_MS);
  }
}

async function save(url: string, file: string): Promise<void> {
  const response = await fetch(url);
  if (!response.ok || response.body === null) throw new Error(`${url} answered ${response.status}`);
  await mkdir(join(file, ".."), { recursive: true });
  await pipeline(Readable.fromWeb(response.body), createWriteStream(file));
}

/** How long each stage took, from the job's timeline. */
function stagesOf({ timeline }: JobView): string {
  const stages = timeline.slice(0, -1).map(({ at, event }, index) => {
    const seconds = (Date.parse(timeline[index + 1]?.at ?? at) - Date.parse(at)) / 1000;
    return `    ${event.padEnd(24)} ${seconds.toFixed(2).padStart(6)} s`;
  });
  return ["  stages", ...stages].join("\n");
}

async function webhookBody({ simulator }: Embedded): Promise<string> {
  for (;;) {
    const [delivery] = simulator?.received(HOOK) ?? [];
    if (delivery !== undefined) return delivery.body;
    await delay(POLL_MS);
  }
}

main().catch(fail);
