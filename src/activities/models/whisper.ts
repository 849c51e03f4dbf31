import { log } from "@temporalio/activity";
import { z } from "zod";
import { callGradio, type GradioArguments, gradioFile } from "../../clients/gradio.ts";
import { ModelFailure } from "../../clients/modelCall.ts";
import type { RemoteFile, RunResult } from "../../contracts/activityTypes.ts";
import type { WhisperInput } from "../../jobs/kinds/whisper.ts";
import { canBeAligned } from "../../jobs/languages.ts";
import { contentTypeOf } from "../../storage/contentTypes.ts";
import { keys } from "../../storage/keys.ts";
import { untilAppAnswers, withInputFiles } from "./node.ts";
import type { ModelRun } from "./runModel.ts";
import { storeText } from "./storeText.ts";

const ENDPOINT = "/transcribe_audio";
/** The sound's parameter, in newer builds of the app and in older ones. */
const FILE_PARAMETERS = ["input_file", "audio_file"];
/** The transcript itself is stored as text already. */
const formats = ["json", "srt", "vtt", "tsv", "html"];

const outputSchema = z.tuple([z.string(), z.array(gradioFile).nullable()]).rest(z.unknown());

/** What the app answers where it has no model to align words with sound: what was heard is lost with it. */
const NOT_ALIGNED = /No default align-model/i;

/** Transcribes or translates a recording with the WhisperX app of the node. */
export async function runWhisper(run: ModelRun, input: WhisperInput): Promise<RunResult> {
  const { job, lease, deps, report, signal } = run;
  const appUrl = `${lease.nodeUrl}/whisper/`;
  await untilAppAnswers(`${appUrl}config`, run);
  const { transcript, files } = await withInputFiles(run, ["audio"], async ({ audio }) => {
    const transcribe = async (align: boolean) => {
      const { values, fileUrl } = await callGradio({
        appUrl,
        apiKey: deps.config.comput3.apiKey ?? "",
        endpoint: ENDPOINT,
        arguments: (accepted) => argumentsOf({ ...input, align }, audio?.file, accepted),
        onProgress: (progress, detail) => report({ progress, detail }),
        signal,
        settleMs: deps.config.gpu.cancelSettleMs,
      });
      return parse(values, fileUrl);
    };
    if (!canAlign(input)) return await transcribe(false);
    return await transcribe(true).catch(async (error: unknown) => {
      if (!(error instanceof ModelFailure && NOT_ALIGNED.test(error.message))) throw error;
      log.info("transcribing again, without times of words", { jobId: job.id, reason: error.message });
      return await transcribe(false);
    });
  });
  return {
    text: await storeText(deps, job.id, transcript, signal),
    files: formats.flatMap((extension): RemoteFile[] => {
      const file = files.find(({ name }) => name.toLowerCase().endsWith(`.${extension}`));
      if (file === undefined) return [];
      const key = keys.resultFile(job.id, `transcript.${extension}`);
      return [{ key, url: file.url, mimeType: contentTypeOf(key) }];
    }),
  };
}

/** The words of a translation are not those that were spoken. An unknown language may turn out to be any. */
function canAlign({ task, language }: WhisperInput): boolean {
  return task === "transcribe" && (language === "" || canBeAligned(language));
}

/** What the app has a parameter for; it would refuse anything else. */
function argumentsOf(
  input: WhisperInput & { align: boolean },
  audio: File | undefined,
  accepted: ReadonlySet<string>,
): GradioArguments {
  const { model, task, language, align } = input;
  const wanted: Record<string, unknown> = {
    model,
    task,
    // Left out, the app would take English for granted.
    language,
    device: "cuda",
    compute_type: "float16",
    batch_size: 16,
    vad_method: "pyannote",
    no_align: !align,
    word_timestamps: true,
    segment_resolution: "sentence",
  };
  const parameters = Object.fromEntries(Object.entries(wanted).filter(([name]) => accepted.has(name)));
  const fileParameter = FILE_PARAMETERS.find((name) => accepted.has(name));
  if (fileParameter === undefined || audio === undefined) {
    throw new ModelFailure("broken", "the transcription app of the node takes no file");
  }
  return { parameters, files: { [fileParameter]: audio } };
}

/** The app reports its failures as results. */
function parse(values: unknown[], fileUrl: (path: string) => string) {
  const parsed = outputSchema.safeParse(values);
  if (!parsed.success) throw new ModelFailure("failed", "the model ended without a transcript");
  const [text, made] = parsed.data;
  const transcript = text.trim();
  if (/^Error:/i.test(transcript) && (made ?? []).length === 0) {
    throw new ModelFailure("failed", `the transcription failed: ${transcript.slice("Error:".length).trim()}`);
  }
  return {
    transcript,
    files: (made ?? []).map(({ path, orig_name: name }) => ({ name: name ?? path, url: fileUrl(path) })),
  };
}
