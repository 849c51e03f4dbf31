import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { log } from "@temporalio/activity";
import type { OnProgress } from "../../clients/modelCall.ts";
import type { RemoteFile } from "../../contracts/activityTypes.ts";
import type { StoredFile } from "../../jobs/job.ts";
import type { SpeechInput } from "../../jobs/speech.ts";
import { keys } from "../../storage/keys.ts";
import { withTempFolder } from "../inputs/tempFolder.ts";
import { whileStoreIsAway } from "../support/storeRetry.ts";
import { copyFromNode } from "./copyFromNode.ts";
import { exceedsWindow } from "./csmWindow.ts";
import type { ModelRun } from "./runModel.ts";

export interface Speaker {
  /** @returns where the sound of these items lies on the node */
  speak(items: readonly string[], onProgress: OnProgress): Promise<Omit<RemoteFile, "key">>;
  /** How many of these items, from the first one on, can be spoken in one call. */
  fits(items: readonly string[]): number;
}

/** The items from `from` up to, but without, `to`, as they were spoken. */
interface Part {
  from: number;
  to: number;
  key: string;
}

const MP3 = "audio/mpeg";

/**
 * Speaks items in several calls, and joins the sound with the pause that stands between all items. A part is stored as
 * soon as it is there, so that an attempt after a worker died, or on another GPU, goes on with the next one.
 */
export async function speakInParts(
  run: ModelRun,
  input: SpeechInput,
  speaker: Speaker,
  key: string,
): Promise<StoredFile> {
  const { job, report } = run;
  const items = input.monologue;
  const stored = await storedParts(run);
  const parts: Part[] = [];
  let most = items.length;
  for (let from = 0; from < items.length; ) {
    const left = items.slice(from);
    const known = stored.get(from);
    const size = Math.min(most, speaker.fits(left));
    const part = known ?? { from, to: from + size, key: keys.speechPart(job.id, from, from + size) };
    if (known === undefined) {
      const about = parts.length + Math.ceil(left.length / size);
      const onProgress: OnProgress = (progress, detail) =>
        report({
          progress: (from + (progress ?? 0) * size) / items.length,
          detail: `part ${parts.length + 1} of about ${about}, ${detail}`,
        });
      if (!(await speakPart(run, speaker, left.slice(0, size), part, onProgress))) {
        most = Math.ceil(size / 2);
        continue;
      }
    }
    parts.push(part);
    from = part.to;
  }
  report({ progress: 1, detail: `joining ${parts.length} parts` });
  return await joined(run, parts, input.pauseDurationMs, key);
}

/** @returns false when it was too much for one call */
async function speakPart(
  { job, lease, deps, signal }: ModelRun,
  speaker: Speaker,
  items: readonly string[],
  { key }: Part,
  onProgress: OnProgress,
): Promise<boolean> {
  try {
    const file = await speaker.speak(items, onProgress);
    await copyFromNode(deps, lease, { ...file, key }, signal);
    log.info("part of a speech stored", { jobId: job.id, key });
    return true;
  } catch (error) {
    if (!exceedsWindow(error) || items.length === 1) throw error;
    log.warn("part of a speech was too long for one call", { jobId: job.id, items: items.length });
    return false;
  }
}

/** By their first item. */
async function storedParts({ job, deps, signal }: ModelRun): Promise<Map<number, Part>> {
  return await whileStoreIsAway(async () => {
    const parts = new Map<number, Part>();
    for await (const { key } of deps.store.list(keys.inputsOf(job.id))) {
      const range = keys.speechPartOf(key);
      if (range !== undefined) parts.set(range.from, { ...range, key });
    }
    return parts;
  }, signal);
}

async function joined(
  { job, deps, attemptName, signal }: ModelRun,
  parts: readonly Part[],
  pauseMs: number,
  key: string,
): Promise<StoredFile> {
  const { config, store, media } = deps;
  return await withTempFolder(config, `${attemptName}-parts`, async (folder) => {
    const paths: string[] = [];
    for (const [index, part] of parts.entries()) {
      const path = join(folder, `${job.id}_part${index}.mp3`);
      await whileStoreIsAway(async () => {
        const { body } = await store.get(part.key, { signal });
        await pipeline(body, createWriteStream(path), { signal });
      }, signal);
      paths.push(path);
    }
    const whole = join(folder, `${job.id}_audio.mp3`);
    await media.joinMp3(paths, whole, { pauseMs, signal });
    const put = () => store.put(key, createReadStream(whole), { contentType: MP3, signal });
    return { key, mimeType: MP3, bytes: await whileStoreIsAway(put, signal) };
  });
}
