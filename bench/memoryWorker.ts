import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@temporalio/client";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { loadConfig } from "../src/config/index.ts";
import type { PreparedInput } from "../src/contracts/activityTypes.ts";
import type { Lease } from "../src/gpus/types.ts";
import type { JobSpec } from "../src/jobs/job.ts";
import type { WhisperInput } from "../src/jobs/kinds/whisper.ts";
import { createMetrics } from "../src/process/metrics.ts";
import { createObjectStore } from "../src/storage/index.ts";
import { keys } from "../src/storage/keys.ts";
import { buildActivities } from "../src/workers/activities.ts";

/** What the worker of the memory benchmark is told to do. */
export type Task =
  /** Copy a result from a node. */
  | { kind: "result"; node: string; url: string }
  /** Download and prepare an input. */
  | { kind: "download"; url: string }
  /** Send a staged input to a node. */
  | { kind: "input"; node: string; url: string };

const SAMPLE_MS = 10;
const SETTLE_MS = 500;

const config = loadConfig(process.env);
const store = createObjectStore(config.storage, "");
// Nothing here talks to Temporal.
const { activities, close } = await buildActivities(config, {} as Client, process.env, createMetrics());

process.on("message", (task: Task) => {
  measure(task).then(
    (measured) => process.send?.(measured),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.once("disconnect", () => void close());

async function measure(task: Task): Promise<{ baseline: number; peak: number; seconds: number }> {
  const job = jobOf(task.url);
  const inputs = task.kind === "input" ? [await staged(job, task.url)] : [];
  globalThis.gc?.();
  await delay(SETTLE_MS);
  const baseline = process.memoryUsage.rss();
  let peak = baseline;
  const sampling = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, SAMPLE_MS);
  const startedAt = performance.now();
  try {
    await perform(task, job, inputs);
  } finally {
    clearInterval(sampling);
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const stored = [];
  for await (const { key } of store.list("")) stored.push(key);
  await store.remove(stored);
  return { baseline, peak, seconds };
}

async function perform(task: Task, job: JobSpec & { input: WhisperInput }, inputs: PreparedInput[]): Promise<void> {
  const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });
  switch (task.kind) {
    case "result": {
      const file = { key: keys.result(job.id, "mp4"), url: task.url, mimeType: "video/mp4" };
      await environment.run(activities.uploadResult, { job, lease: leaseOf(task.node), files: [file] });
      break;
    }
    case "download":
      await environment.run(activities.downloadInputs, { job });
      break;
    case "input": {
      const step = { model: "whisper" as const, input: job.input };
      await environment.run(activities.runModel, { job, step, inputs, lease: leaseOf(task.node) });
      break;
    }
    default:
      task satisfies never;
  }
}

/** A sound that was prepared before: it lies in the store. */
async function staged(job: JobSpec, url: string): Promise<PreparedInput> {
  const { body } = await fetch(url);
  if (body === null) throw new Error(`${url} sent nothing`);
  const key = keys.input(job.id, "audio.mp3");
  const bytes = await store.put(key, Readable.fromWeb(body), { contentType: "audio/mpeg" });
  return { name: "audio", key, mimeType: "audio/mpeg", bytes };
}

function jobOf(audioUrl: string) {
  const input: WhisperInput = { audioUrl, model: "tiny", task: "transcribe", language: "en" };
  const now = Date.now();
  return {
    id: randomUUID(),
    type: "whisper" as const,
    input,
    tenant: "default",
    priority: "normal" as const,
    createdAt: now,
    completeBy: now + 3_600_000,
    maxTimeSeconds: 1200,
    gpuType: "media:fast",
  };
}

function leaseOf(node: string): Lease {
  const nodeUrl = config.comput3.nodeUrlTemplate.replace("{node}", node);
  const expiresAt = Date.now() + 3_600_000;
  return {
    leaseId: "lease",
    jobId: "job",
    gpuId: "gpu",
    gpuType: "media:fast",
    node,
    nodeUrl,
    expiresAt,
    grantedAt: Date.now(),
    before: { bootMs: 0, idleMs: 0 },
  };
}
