import { createWriteStream, openAsBlob } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { ApplicationFailure } from "@temporalio/activity";
import { z } from "zod";
import { callGradio, GradioFailure, gradioFileUrl } from "../../clients/gradio.ts";
import type { CsmInput, CsmVoice } from "../../jobs/csm.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import { keys } from "../../storage/keys.ts";
import type { ModelRun } from "../runModel.ts";
import { withTempFolder } from "../tempFolder.ts";
import type { RunResult } from "../types.ts";

const ENDPOINT = "/generate_monologue_audio";
/** A node may answer before its apps do. */
const APP_START_MS = 120_000;
const APP_CHECK_MS = 1000;
const APP_CHECK_TIMEOUT_MS = 5000;

const voices: Record<CsmVoice, string> = {
  random: "random_voice",
  conversational_a: "conversational_a",
  conversational_b: "conversational_b",
  clone: "upload_voice",
};

const fileSchema = z.object({ path: z.string().min(1) });

/** Speaks a job's monologue with the CSM app of its node. */
export async function runCsm(run: ModelRun): Promise<RunResult> {
  const { job, lease, deps, report, signal } = run;
  const appUrl = `${lease.nodeUrl}/csm/`;
  const { apiKey = "" } = deps.config.comput3;
  await untilAppAnswers(appUrl, apiKey, run);
  const [output] = await withReference(run, (reference) =>
    callGradio({
      appUrl,
      apiKey,
      endpoint: ENDPOINT,
      parameters: parametersOf(job.input),
      ...(reference && { files: { speaker_audio: reference } }),
      onProgress: (progress, detail) => report({ progress, detail }),
      signal,
      settleMs: deps.config.gpu.cancelSettleMs,
    }),
  );
  const file = fileSchema.safeParse(output);
  if (!file.success) {
    throw ApplicationFailure.nonRetryable("the model ended without a file", failureTypes.modelFailed);
  }
  const url = gradioFileUrl(appUrl, file.data.path);
  return { files: [{ key: keys.result(job.id, "mp3"), url, mimeType: "audio/mpeg" }] };
}

/** Every parameter is sent, also those that the app has defaults for; some have none. */
function parametersOf(input: CsmInput): Record<string, unknown> {
  return {
    speaker_voice: voices[input.voice],
    speaker_text: input.reference?.text ?? "",
    speaker_audio: null,
    monologue_json: JSON.stringify(input.monologue),
    temperature: input.temperature,
    topk: input.topk,
    max_audio_length: input.maxAudioLengthMs,
    pause_duration: input.pauseDurationMs,
  };
}

/** The prepared reference voice as a file on disk: however long it is, it is not held in memory. */
async function withReference<T>(run: ModelRun, work: (reference: File | undefined) => Promise<T>): Promise<T> {
  const { inputs, deps, attemptName, signal } = run;
  const prepared = inputs.find((input) => input.name === "reference_audio");
  if (prepared === undefined) return await work(undefined);
  return await withTempFolder(deps.config, attemptName, async (folder) => {
    const path = join(folder, `${run.job.id}_reference.mp3`);
    const { body } = await deps.store.get(prepared.key, { signal });
    await pipeline(body, createWriteStream(path), { signal });
    const blob = await openAsBlob(path, { type: prepared.mimeType });
    return await work(new File([blob], "reference_audio.mp3", { type: prepared.mimeType }));
  });
}

async function untilAppAnswers(appUrl: string, apiKey: string, { report, signal }: ModelRun): Promise<void> {
  const deadline = performance.now() + APP_START_MS;
  for (;;) {
    const answer = await fetch(`${appUrl}config`, {
      headers: { "X-C3-API-KEY": apiKey },
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(APP_CHECK_TIMEOUT_MS)]),
    }).catch((error: unknown) => error);
    signal.throwIfAborted();
    if (answer instanceof Response) {
      await answer.body?.cancel();
      if (answer.ok) return;
    }
    if (performance.now() > deadline) throw new GradioFailure("transport", "the app on the node did not start");
    report({ progress: null, detail: "waiting for the app on the node" });
    await delay(APP_CHECK_MS, undefined, { signal });
  }
}
