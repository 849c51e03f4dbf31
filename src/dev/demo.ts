import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { readEnvFile } from "../config/envFile.ts";
import { loadConfig } from "../config/index.ts";
import { ids } from "../contracts/names.ts";
import type { JobType } from "../jobs/job.ts";
import { fail } from "../process/lifecycle.ts";
import { createClient, type Job, type Submissions } from "../sdk/index.ts";
import { samplePicture } from "../simulator/sound/samples.ts";
import { createObjectStore } from "../storage/index.ts";
import { keys } from "../storage/keys.ts";
import { providerNotice } from "../workers/providerNotice.ts";
import type { Say } from "./binaries.ts";
import type { Embedded } from "./embedded.ts";
import { runEmbedded } from "./runEmbedded.ts";

const TEXT = "Hello! This is c3-render, speaking from a workflow that cannot get lost.";
const POLL_MS = 100;
const HOOK = "demo";

/** `npm run demo`: starts everything, renders a job of every kind, saves what came of it, and ends. */
async function main(): Promise<void> {
  readEnvFile();
  const say: Say = (line) => console.log(line);
  // The demo shows results; the log of every step is for `npm start`.
  const config = loadConfig({ LOG_LEVEL: "warn", ...process.env });
  let isRendered = false;
  const isWell = await runEmbedded(config, say, async (stack) => {
    const trouble = await stack.providerTrouble;
    if (trouble !== undefined) throw new Error(providerNotice(trouble));
    await renderAll(stack, say);
    isRendered = true;
    say("");
  });
  if (isRendered && isWell) say("Done. `npm start` brings the stack up again, with these jobs in it.");
  process.exit(isRendered && isWell ? 0 : 1);
}

async function renderAll(stack: Embedded, say: Say): Promise<void> {
  const { simulator, config } = stack;
  const hook = simulator && { notify_url: `${simulator.url}/sim/hooks/${HOOK}` };
  const image_url = await storePicture(stack);
  say(`\nRendering on ${simulator === undefined ? "Comput3" : "the simulator (there is no C3_API_KEY)"}:`);
  say(`  csm        speaks "${TEXT}"`);
  const speech = await render(stack, "csm", { text: TEXT, voice: "conversational_a", ...hook });
  const audio_url = speech.result?.result_url;
  if (audio_url === undefined) throw new Error("the speech has no file");
  say("  whisper    listens to that speech; portrait, analyze and lipsync take a picture, and let it speak");
  const others = [
    render(stack, "whisper", { audio_url, language: "en" }),
    render(stack, "portrait", { image_url, audio_url }),
    render(stack, "analyze", { image_url }),
  ];
  if (config.modal === undefined) say("  (no lipsync: it needs MODAL_TOKEN_ID and MODAL_TOKEN_SECRET)");
  else others.push(render(stack, "lipsync", { image_url, audio_url }));
  const documents = [speech, ...(await Promise.all(others))];

  say(`\n  ${tableRow(["", "downloading", "waiting", "rendering", "uploading", "in all"])}`);
  for (const document of documents) say(`  ${tableRow([document.type, ...timesOf(document)])}`);
  say("");
  for (const document of documents) say(`  ${document.type.padEnd(10)} ${await keep(stack, document)}`);
  if (simulator !== undefined) say("  (simulated: a simple voice, a still picture, no model)");
  say("");
  if (simulator !== undefined) say(`  webhook    ${await webhookBody(stack)}`);
  if (stack.temporalUiUrl !== undefined) {
    const path = `/namespaces/${config.temporal.namespace}/workflows`;
    say(`  workflows  ${stack.temporalUiUrl}${path}`);
    say(`             ${stack.temporalUiUrl}${path}/${ids.job(speech.id)}`);
  }
  say(`  API        ${stack.apiUrl}  (the workflows and links open while \`npm start\` runs)`);
}

/** A picture of our own, served as a file of ours. */
async function storePicture({ config, apiUrl }: Embedded): Promise<string> {
  const store = createObjectStore(config.storage, apiUrl);
  const key = keys.input("demo", "portrait.jpg");
  await store.put(key, Readable.from([await samplePicture()]), { contentType: "image/jpeg" });
  return await store.link(key, { expiresInSeconds: 3600 });
}

/** Submits a job and waits for its end. */
async function render<T extends JobType>(stack: Embedded, type: T, body: Submissions[T]): Promise<Job> {
  const { apiUrl, config } = stack;
  const client = createClient({ baseUrl: apiUrl, apiKey: config.api.key });
  const id = await client.submit(type, body);
  const job = await client.wait(id, { pollMs: POLL_MS });
  if (job.result === undefined) throw new Error(`${type} job ${id} failed: ${job.error}`);
  return job;
}

function tableRow([first = "", ...rest]: string[]): string {
  return [first.padEnd(10), ...rest.map((cell) => cell.padStart(12))].join("");
}

/** Seconds of each stage, from the job's timeline. */
function timesOf({ timeline }: Job): string[] {
  const times = new Map<string, number>();
  for (const [index, { at, event }] of timeline.slice(0, -1).entries()) {
    const stage = event.split(" ")[0] ?? event;
    const ms = Date.parse(timeline[index + 1]?.at ?? at) - Date.parse(at);
    times.set(stage, (times.get(stage) ?? 0) + ms);
  }
  const total = Date.parse(timeline.at(-1)?.at ?? "") - Date.parse(timeline[0]?.at ?? "");
  const stages = ["downloading", "waiting", "rendering", "uploading"].map((stage) => times.get(stage));
  return [...stages, total].map((ms) => (ms === undefined ? "–" : `${(ms / 1000).toFixed(2)} s`));
}

const extensions: Record<JobType, string> = {
  csm: "mp3",
  whisper: "txt",
  portrait: "mp4",
  analyze: "txt",
  lipsync: "mp4",
};

/** Saves the result. @returns where it is, or what it says */
async function keep({ config }: Embedded, { id, type, result }: Job): Promise<string> {
  if (result?.text !== undefined) return `"${result.text}"`;
  if (result?.result_url === undefined) return "(nothing that could be fetched)";
  const file = join(config.outputDir, `${type}-${id}.${extensions[type]}`);
  const response = await fetch(result.result_url);
  if (!response.ok || response.body === null) throw new Error(`${result.result_url} answered ${response.status}`);
  await mkdir(config.outputDir, { recursive: true });
  await pipeline(Readable.fromWeb(response.body), createWriteStream(file));
  return file;
}

async function webhookBody({ simulator }: Embedded): Promise<string> {
  for (;;) {
    const [delivery] = simulator?.received(HOOK) ?? [];
    if (delivery !== undefined) return delivery.body;
    await delay(POLL_MS);
  }
}

main().catch(fail);
