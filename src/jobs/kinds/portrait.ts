import { bodySchema } from "../body.ts";
import { httpUrl } from "../fields.ts";
import { checkSpeech, type SpeechInput, speechFields, toSpeech, withoutUnusedSpeech } from "../speech.ts";
import { type SubmissionDefaults, submissionFields } from "../submission.ts";

/** A picture, and what it says: a recording, or speech that is made first. */
export interface PortraitInput {
  imageUrl: string;
  sound: { audioUrl: string } | { speech: SpeechInput };
}

/** The body of `POST /portrait`, in, and `{ input, …common fields }`, out. `audio_url` wins over what there is to speak. */
export function portraitSchema(options: SubmissionDefaults & { maxTextChars: number; greeting: string }) {
  const fields = {
    ...submissionFields(options),
    ...speechFields,
    image_url: httpUrl.describe("The picture that is to speak"),
    audio_url: httpUrl
      .optional()
      .describe("What it says: a recording, or a video, whose sound is used; wins over `text` and `monologue`"),
  };
  return bodySchema(
    fields,
    (object) =>
      object
        .superRefine(({ audio_url: audioUrl, ...body }, context) => {
          if (audioUrl !== undefined) return;
          checkSpeech(body, options.maxTextChars, (field, message) =>
            context.addIssue({ code: "custom", path: [field], message }),
          );
        })
        .transform(({ audio_url: audioUrl, image_url: imageUrl, ...body }) => {
          const sound = audioUrl === undefined ? { speech: toSpeech(body, options.greeting) } : { audioUrl };
          const input: PortraitInput = { imageUrl, sound };
          return { ...body, input };
        }),
    (body) => (body.audio_url === undefined ? withoutUnusedSpeech(body) : withoutSpeech(body)),
  );
}

const speechFieldNames = new Set(Object.keys(speechFields));

/** What is not going to be spoken may be anything. */
function withoutSpeech(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !speechFieldNames.has(name)));
}
