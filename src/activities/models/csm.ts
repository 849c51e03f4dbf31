import { ApplicationFailure } from "@temporalio/activity";
import { z } from "zod";
import { callGradio, gradioFileUrl } from "../../clients/gradio.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { SpeechInput, Voice } from "../../jobs/speech.ts";
import { keys } from "../../storage/keys.ts";
import type { ModelRun } from "../runModel.ts";
import type { RunResult } from "../types.ts";
import { untilAppAnswers, withInputFiles } from "./node.ts";

const ENDPOINT = "/generate_monologue_audio";

const voices: Record<Voice, string> = {
  random: "random_voice",
  conversational_a: "conversational_a",
  conversational_b: "conversational_b",
  clone: "upload_voice",
};

const fileSchema = z.object({ path: z.string().min(1) });

/** Speaks a monologue with the CSM app of the node. */
export async function runCsm(run: ModelRun, input: SpeechInput): Promise<RunResult> {
  const { job, lease, deps, report, signal } = run;
  const appUrl = `${lease.nodeUrl}/csm/`;
  await untilAppAnswers(`${appUrl}config`, run);
  const [output] = await withInputFiles(run, ["reference_audio"], ({ reference_audio: reference }) =>
    callGradio({
      appUrl,
      apiKey: deps.config.comput3.apiKey ?? "",
      endpoint: ENDPOINT,
      arguments: () => ({
        parameters: parametersOf(input),
        ...(reference && { files: { speaker_audio: reference.file } }),
      }),
      onProgress: (progress, detail) => report({ progress, detail }),
      signal,
      settleMs: deps.config.gpu.cancelSettleMs,
    }),
  );
  const file = fileSchema.safeParse(output);
  if (!file.success) {
    throw ApplicationFailure.nonRetryable("the model ended without a file", failureTypes.modelFailed);
  }
  const key = job.type === "csm" ? keys.result(job.id, "mp3") : keys.resultFile(job.id, "speech.mp3");
  return { files: [{ key, url: gradioFileUrl(appUrl, file.data.path), mimeType: "audio/mpeg" }] };
}

/** Every parameter is sent, also those that the app has defaults for; some have none. */
function parametersOf(input: SpeechInput): Record<string, unknown> {
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
