import { bodySchema } from "../body.ts";
import { httpUrl } from "../fields.ts";
import { checkSpeech, speechFields, toSpeech, withoutUnusedSpeech } from "../speech.ts";
import { type SubmissionDefaults, submissionFields } from "../submission.ts";

/** The body of `POST /csm`, in, and `{ input, …common fields }`, out. */
export function csmSchema(options: SubmissionDefaults & { maxTextChars: number }) {
  const fields = {
    ...submissionFields(options),
    ...speechFields,
    audio_url: httpUrl.optional().describe("Older name of `reference_audio_url`; without `voice` it makes a clone"),
    audio_text: speechFields.reference_text.describe("Older name of `reference_text`"),
  };
  return bodySchema(
    fields,
    (object) =>
      object
        .superRefine((body, context) => {
          const problem = (field: string, message: string) =>
            context.addIssue({ code: "custom", path: [field], message });
          if (body.text === undefined && body.monologue === undefined) problem("text", "text or monologue is required");
          checkSpeech(body, options.maxTextChars, problem);
        })
        .describe("Either `text` or `monologue` is needed")
        .transform((body) => ({ ...body, input: toSpeech(body) })),
    withoutUnusedSpeech,
  );
}
