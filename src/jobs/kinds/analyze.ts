import { z } from "zod";
import { bodySchema } from "../body.ts";
import { httpUrl, someText } from "../fields.ts";
import { type SubmissionDefaults, submissionFields } from "../submission.ts";

/** What a vision model is asked about a picture. */
export interface AnalyzeInput {
  imageUrl: string;
  prompt: string;
  model: string;
}

const DEFAULT_PROMPT = "Describe this image in detail.";

/** The body of `POST /analyze`, in, and `{ input, …common fields }`, out. The first of `models` is the default. */
export function analyzeSchema(options: SubmissionDefaults & { maxTextChars: number; models: readonly string[] }) {
  const fields = {
    ...submissionFields(options),
    image_url: httpUrl.describe("The picture"),
    prompt: someText.trim().max(options.maxTextChars).default(DEFAULT_PROMPT).describe("What is asked about it"),
    model: z.enum(options.models).default(options.models[0] ?? ""),
  };
  return bodySchema(fields, (object) =>
    object.transform((body) => {
      const { image_url: imageUrl, prompt, model } = body;
      const input: AnalyzeInput = { imageUrl, prompt, model };
      return { ...body, input };
    }),
  );
}
