import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import type { Random } from "./chaosRandom.ts";
import { BenchError } from "./submit.ts";

/** One job of the drill: what is asked for, when, and whether somebody thinks better of it. */
export interface PlannedJob {
  kind: string;
  atMs: number;
  path: string;
  body: Record<string, unknown>;
  /** Milliseconds after its submission, and what it is marked as. */
  end?: { afterMs: number; status: string };
}

const texts = ["Hello.", "It is raining again.", "Nothing is lost, and nothing is done twice.", "One. Two. Three."];
const CANCELLED = 0.1;
const SHORT_DEADLINE = 0.08;
const SHORTEST_SECONDS = 60;

/** @param files where the simulator has its samples */
export function planJobs(random: Random, count: number, seconds: number, files: string, notifyUrl: string) {
  const voice = `${files}/voice.wav`;
  const portrait = `${files}/portrait.jpg`;
  const say = () => ({ text: random.pick(texts) });
  const clone = { voice: "clone", reference_audio_url: voice, reference_text: "This is the voice." };
  const kinds: [kind: string, share: number, path: string, body: () => Record<string, unknown>][] = [
    ["speech", 30, "/csm", say],
    ["speech, cloned", 10, "/csm", () => ({ ...say(), ...clone })],
    ["transcript", 16, "/whisper", () => ({ audio_url: voice, model: "tiny" })],
    ["portrait, sound", 9, "/portrait", () => ({ image_url: portrait, audio_url: voice })],
    ["portrait, text", 7, "/portrait", () => ({ image_url: portrait, ...say() })],
    ["description", 14, "/analyze", () => ({ image_url: portrait })],
    ["lip-sync, picture", 5, "/jobs", () => ({ image_url: portrait, audio_url: voice })],
    ["lip-sync, video", 3, "/jobs", () => ({ video_url: `${files}/clip.mp4`, audio_url: voice })],
    ["bad sound", 2, "/whisper", () => ({ audio_url: portrait })],
    ["bad picture", 2, "/analyze", () => ({ image_url: voice })],
    ["missing picture", 2, "/portrait", () => ({ image_url: `${files}/missing.jpg`, audio_url: voice })],
  ];
  // Every kind is there, in a drill of any length.
  const shares = kinds.flatMap((kind) => Array.from({ length: kind[1] }, () => kind));
  return Array.from({ length: count }, (_, number): PlannedJob => {
    const [kind, , path, body] = kinds[number] ?? random.pick(shares);
    const short = random.chance(SHORT_DEADLINE) ? { complete_in: SHORTEST_SECONDS, max_time: SHORTEST_SECONDS } : {};
    const priority = random.pick(["low", "normal", "normal", "high"]);
    const end = random.chance(CANCELLED)
      ? { afterMs: random.between(0, 8000), status: random.pick(["cancelled", "cancelled", "timed_out", "failed"]) }
      : undefined;
    const atMs = random.between(0, seconds * 1000);
    const common = { notify_url: notifyUrl, metadata: { number, kind }, priority };
    return { kind, atMs, path, body: { ...body(), ...common, ...short }, ...(end && { end }) };
  }).sort((a, b) => a.atMs - b.atMs);
}

export interface SubmittedJob {
  id: string;
  kind: string;
}

const accepted = z.object({ id: z.string().optional(), job_id: z.string().optional() });
const AGAIN_MS = 500;

/** Submits a job as a stubborn client does: until it is taken. */
export async function submit(apiUrl: string, job: PlannedJob, refused: () => void): Promise<SubmittedJob> {
  for (;;) {
    const answer = await post(`${apiUrl}${job.path}`, job.body);
    if (answer !== undefined && answer.status < 500 && answer.status !== 429) {
      if (answer.status !== 200) throw new BenchError(`${job.kind}: ${answer.status} ${JSON.stringify(answer.body)}`);
      const { id, job_id: jobId } = accepted.parse(answer.body);
      return { id: id ?? jobId ?? "", kind: job.kind };
    }
    refused();
    await delay(AGAIN_MS);
  }
}

/** Marks a job as a client does, who tries again a few times. @returns whether it was taken */
export async function endJob(apiUrl: string, id: string, status: string): Promise<boolean> {
  for (let tries = 0; tries < 20; tries += 1) {
    const answer = await post(`${apiUrl}/job/${id}`, { status });
    if (answer !== undefined && answer.status < 500) return true;
    await delay(AGAIN_MS);
  }
  return false;
}

async function post(url: string, body: unknown): Promise<{ status: number; body: unknown } | undefined> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
  } catch {
    return undefined;
  }
}
