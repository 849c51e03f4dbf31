import { z } from "zod";
import { httpUrl } from "./fields.ts";
import { type SubmissionDefaults, submissionFields } from "./submission.ts";

const models = ["tiny", "base", "small", "medium", "large", "large-v2", "large-v3"] as const;
const tasks = ["transcribe", "translate"] as const;

/** What a transcription listens to and how. */
export interface WhisperInput {
  audioUrl: string;
  model: (typeof models)[number];
  task: (typeof tasks)[number];
  /** A code that the model knows; empty: it finds out. */
  language: string;
}

const MAX_LANGUAGE_CHARS = 20;

/** The body of `POST /whisper`, in, and `{ input, …common fields }`, out. */
export function whisperSchema(options: SubmissionDefaults) {
  return z
    .object({
      ...submissionFields(options),
      audio_url: httpUrl.describe("A recording, or a video, whose sound is used"),
      model: z.enum(models).default("medium"),
      task: z.enum(tasks).default("transcribe").describe("`translate`: into English"),
      language: z
        .string()
        .trim()
        .max(MAX_LANGUAGE_CHARS)
        .default("")
        .describe("A code that the model knows, such as `en`; empty: it finds out"),
    })
    .transform((body) => {
      const { audio_url: audioUrl, model, task, language } = body;
      const input: WhisperInput = { audioUrl, model, task, language };
      return { ...body, input };
    });
}
