import { z } from "zod";
import { bodySchema } from "../body.ts";
import { httpUrl } from "../fields.ts";
import { languageCodeOf, languageCodes } from "../languages.ts";
import { type SubmissionDefaults, submissionFields } from "../submission.ts";

export const whisperModels = ["tiny", "base", "small", "medium", "large", "large-v2", "large-v3"] as const;
export const whisperTasks = ["transcribe", "translate"] as const;

/** What a transcription listens to and how. */
export interface WhisperInput {
  audioUrl: string;
  model: (typeof whisperModels)[number];
  task: (typeof whisperTasks)[number];
  /** A code that the model knows; empty: it finds out. */
  language: string;
}

/** The body of `POST /whisper`, in, and `{ input, …common fields }`, out. */
export function whisperSchema(options: SubmissionDefaults) {
  const fields = {
    ...submissionFields(options),
    audio_url: httpUrl.describe("A recording, or a video, whose sound is used"),
    model: z
      .enum(whisperModels)
      .default("medium")
      .describe("`base`, `large` and `large-v3` are downloaded at their first use on a GPU, within `max_time`"),
    task: z.enum(whisperTasks).default("transcribe").describe("`translate`: into English"),
    language: z
      .string()
      .default("")
      .transform((written, context) => {
        const code = languageCodeOf(written);
        if (code !== undefined) return code;
        context.addIssue({ code: "custom", message: `must be a language of Whisper: ${languageCodes.join(", ")}` });
        return z.NEVER;
      })
      .describe(
        "What is spoken: `en`; also understood are `en-US`, `eng`, `English` and the like. Empty or `auto`: the model finds out",
      ),
  };
  return bodySchema(fields, (object) =>
    object.transform((body) => {
      const { audio_url: audioUrl, model, task, language } = body;
      const input: WhisperInput = { audioUrl, model, task, language };
      return { ...body, input };
    }),
  );
}
