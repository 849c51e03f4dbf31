import { callGradio, gradioFile } from "../../clients/gradio.ts";
import { ModelFailure, type OnProgress } from "../../clients/modelCall.ts";
import type { RunResult } from "../../contracts/activityTypes.ts";
import type { SpeechInput, Voice } from "../../jobs/speech.ts";
import { keys } from "../../storage/keys.ts";
import { type Speaker, speakInParts } from "./csmParts.ts";
import { exceedsWindow, itemsPerCall, textOfStart } from "./csmWindow.ts";
import { type InputFile, untilAppAnswers, withInputFiles } from "./node.ts";
import type { ModelRun } from "./runModel.ts";

const ENDPOINT = "/generate_monologue_audio";

const voices: Record<Voice, string> = {
  random: "random_voice",
  conversational_a: "conversational_a",
  conversational_b: "conversational_b",
  clone: "upload_voice",
};

/**
 * Speaks a monologue with the CSM app of the node: in one call, or in several that the model can each have in mind, whose
 * sound is joined.
 */
export async function runCsm(run: ModelRun, input: SpeechInput): Promise<RunResult> {
  const { job, lease, deps } = run;
  const appUrl = `${lease.nodeUrl}/csm/`;
  await untilAppAnswers(`${appUrl}config`, run);
  const key = job.type === "csm" ? keys.result(job.id, "mp3") : keys.resultFile(job.id, "speech.mp3");
  return await withInputFiles(run, ["reference_audio"], async ({ reference_audio: recording }) => {
    const text = referenceText(run, input);
    const speak = async (voice: Voice, items: readonly string[], onProgress: OnProgress) => {
      const { values, fileUrl } = await callGradio({
        appUrl,
        apiKey: deps.config.comput3.apiKey ?? "",
        endpoint: ENDPOINT,
        arguments: () => argumentsOf(input, voice, items, text, recording),
        onProgress,
        signal: run.signal,
        settleMs: deps.config.gpu.cancelSettleMs,
      });
      const file = gradioFile.safeParse(values[0]);
      if (!file.success) throw new ModelFailure("failed", "the model ended without a file");
      return { url: fileUrl(file.data.path), mimeType: "audio/mpeg" };
    };

    const { monologue, maxAudioLengthMs } = input;
    const fits = (voice: Voice) => (items: readonly string[]) =>
      itemsPerCall(items, maxAudioLengthMs, promptOf(run, voice, text));
    if (fits(input.voice)(monologue) === monologue.length) {
      const onProgress: OnProgress = (progress, detail) => run.report({ progress, detail });
      try {
        return { files: [{ key, ...(await speak(input.voice, monologue, onProgress)) }] };
      } catch (error) {
        if (!exceedsWindow(error) || monologue.length === 1) throw error;
      }
    }
    const voice = lastingVoice(run, input.voice);
    const speaker: Speaker = { speak: (items, onProgress) => speak(voice, items, onProgress), fits: fits(voice) };
    return { files: [], stored: [await speakInParts(run, input, speaker, key)] };
  });
}

/**
 * A voice that the model makes up is another one in the next call. Speech in several calls is spoken by one of the built-in
 * voices instead, always the same one for a job: they are studio recordings, which the start of a made-up voice is not.
 */
function lastingVoice({ job }: ModelRun, voice: Voice): Voice {
  if (voice !== "random") return voice;
  return Number.parseInt(job.id.slice(0, 8), 16) % 2 === 0 ? "conversational_a" : "conversational_b";
}

/** What is said in as much of the recording as was kept of it. */
function referenceText({ inputs }: ModelRun, { reference }: SpeechInput): string {
  if (reference === undefined) return "";
  const { durationSeconds, wholeSeconds } = inputs.find(({ name }) => name === "reference_audio") ?? {};
  if (durationSeconds === undefined) return reference.text;
  return textOfStart(reference.text, durationSeconds, wholeSeconds ?? durationSeconds);
}

function promptOf({ inputs }: ModelRun, voice: Voice, text: string) {
  if (voice === "random") return "none";
  const recording = inputs.find(({ name }) => name === "reference_audio");
  return voice === "clone" && recording !== undefined
    ? { seconds: recording.durationSeconds ?? LONGEST_REFERENCE_SECONDS, text }
    : "built-in";
}

/** Recordings are cut to it when they are prepared. */
const LONGEST_REFERENCE_SECONDS = 30;

/** Every parameter is sent, also those that the app has defaults for; some have none. */
function argumentsOf(
  input: SpeechInput,
  voice: Voice,
  items: readonly string[],
  text: string,
  recording: InputFile | undefined,
) {
  const parameters = {
    speaker_voice: voices[voice],
    speaker_text: text,
    speaker_audio: null,
    monologue_json: JSON.stringify(items),
    temperature: input.temperature,
    topk: input.topk,
    max_audio_length: input.maxAudioLengthMs,
    pause_duration: input.pauseDurationMs,
  };
  return { parameters, ...(recording && { files: { speaker_audio: recording.file } }) };
}
