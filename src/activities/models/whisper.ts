import { ApplicationFailure } from "@temporalio/activity";
import { z } from "zod";
import { callGradio, type GradioArguments, gradioFileUrl } from "../../clients/gradio.ts";
import { failureTypes } from "../../jobs/failureTypes.ts";
import type { WhisperInput } from "../../jobs/whisper.ts";
import { contentTypeOf } from "../../storage/contentTypes.ts";
import { keys } from "../../storage/keys.ts";
import type { ModelRun } from "../runModel.ts";
import { storeText } from "../storeText.ts";
import type { RemoteFile, RunResult } from "../types.ts";
import { untilAppAnswers, withInputFiles } from "./node.ts";

const ENDPOINT = "/transcribe_audio";
/** The sound's parameter, in newer builds of the app and in older ones. */
const FILE_PARAMETERS = ["input_file", "audio_file"];
/** The transcript itself is stored as text already. */
const formats = ["json", "srt", "vtt", "tsv", "html"];

const fileSchema = z.object({ path: z.string().min(1), orig_name: z.string().nullish() });
const outputSchema = z.tuple([z.string(), z.array(fileSchema).nullable()]).rest(z.unknown());

/** Transcribes or translates a recording with the WhisperX app of the node. */
export async function runWhisper(run: ModelRun, input: WhisperInput): Promise<RunResult> {
  const { job, lease, deps, report, signal } = run;
  const appUrl = `${lease.nodeUrl}/whisper/`;
  await untilAppAnswers(`${appUrl}config`, run);
  const output = await withInputFiles(run, ["audio"], ({ audio }) =>
    callGradio({
      appUrl,
      apiKey: deps.config.comput3.apiKey ?? "",
      endpoint: ENDPOINT,
      arguments: (accepted) => argumentsOf(input, audio?.file, accepted),
      onProgress: (progress, detail) => report({ progress, detail }),
      signal,
      settleMs: deps.config.gpu.cancelSettleMs,
    }),
  );
  const [transcript, files] = parse(output);
  return {
    text: await storeText(deps, job.id, transcript, signal),
    files: files.flatMap(({ path, orig_name: name }): RemoteFile[] => {
      const extension = (name ?? path).split(".").at(-1)?.toLowerCase() ?? "";
      if (!formats.includes(extension)) return [];
      const key = keys.resultFile(job.id, `transcript.${extension}`);
      return [{ key, url: gradioFileUrl(appUrl, path), mimeType: contentTypeOf(key) }];
    }),
  };
}

/** What the app has a parameter for; it would refuse anything else. */
function argumentsOf(input: WhisperInput, audio: File | undefined, accepted: ReadonlySet<string>): GradioArguments {
  const { model, task, language } = input;
  const wanted: Record<string, unknown> = {
    model,
    task,
    // Left out, the app would take English for granted.
    language,
    device: "cuda",
    compute_type: "float16",
    batch_size: 16,
    vad_method: "pyannote",
    word_timestamps: true,
    segment_resolution: "sentence",
  };
  const parameters = Object.fromEntries(Object.entries(wanted).filter(([name]) => accepted.has(name)));
  const fileParameter = FILE_PARAMETERS.find((name) => accepted.has(name));
  if (fileParameter === undefined || audio === undefined) {
    throw ApplicationFailure.nonRetryable("the transcription app takes no file", failureTypes.modelFailed);
  }
  return { parameters, files: { [fileParameter]: audio } };
}

/** The app reports its failures as results. */
function parse(output: unknown[]) {
  const parsed = outputSchema.safeParse(output);
  if (!parsed.success) {
    throw ApplicationFailure.nonRetryable("the model ended without a transcript", failureTypes.modelFailed);
  }
  const [text, files] = parsed.data;
  const transcript = text.trim();
  if (/^Error:/i.test(transcript) && (files ?? []).length === 0) {
    const reason = transcript.slice("Error:".length).trim().split("\n")[0];
    throw ApplicationFailure.nonRetryable(`the transcription failed: ${reason}`, failureTypes.modelFailed);
  }
  return [transcript, files ?? []] as const;
}
