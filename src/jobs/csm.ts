import { z } from "zod";
import { decimal, httpUrl, integer } from "./fields.ts";
import { type SubmissionDefaults, submissionFields } from "./submission.ts";

/** The voices of the CSM model, in the API's words. */
export const csmVoices = ["random", "conversational_a", "conversational_b", "clone"] as const;
export type CsmVoice = (typeof csmVoices)[number];

/** What a CSM job speaks and how; the part of the job that the model sees. */
export interface CsmInput {
  /** What is spoken, item by item, with a pause of `pauseDurationMs` between items. */
  monologue: string[];
  voice: CsmVoice;
  /** The voice to clone: a recording and the words spoken in it. Present exactly when `voice` is `clone`. */
  reference?: { audioUrl: string; text: string };
  /** 0.1–2.0 */
  temperature: number;
  /** 1–100 */
  topk: number;
  /** Upper bound of each item's length. */
  maxAudioLengthMs: number;
  pauseDurationMs: number;
}

/** The original's estimate: speech runs at about 14 characters per second. */
const CHARACTERS_PER_SECOND = 14;
const MAX_ITEMS = 200;
/** The model refuses a temperature below this one, the original API does not. */
const LOWEST_MODEL_TEMPERATURE = 0.1;

const item = z.string().refine((text) => text.trim() !== "", { error: "must not be empty" });

/** The body of `POST /csm`, in, and `{ input, …common fields }`, out. */
export function csmSchema(options: SubmissionDefaults & { maxTextChars: number }) {
  return z
    .object({
      ...submissionFields(options),
      text: item.optional(),
      monologue: z.array(item).min(1, { error: "must not be empty" }).max(MAX_ITEMS).optional(),
      voice: z.enum([...csmVoices, "random_voice"]).optional(),
      reference_audio_url: httpUrl.optional(),
      reference_text: item.optional(),
      audio_url: httpUrl.optional(),
      audio_text: item.optional(),
      temperature: decimal(0, 2, 0.9),
      topk: integer(1, 100, 50),
      max_audio_length: integer(1000, 30_000, 10_000),
      pause_duration: integer(0, 500, 150),
    })
    .superRefine((body, context) => {
      const problem = (field: string, message: string) => context.addIssue({ code: "custom", path: [field], message });
      if (body.text === undefined && body.monologue === undefined) problem("text", "text or monologue is required");
      if (body.text !== undefined && body.monologue !== undefined)
        problem("monologue", "give either text or monologue, not both");
      const characters = (body.text ?? "").length + (body.monologue ?? []).join("").length;
      if (characters > options.maxTextChars)
        problem(body.text === undefined ? "monologue" : "text", `must be at most ${options.maxTextChars} characters`);
      if (voiceOf(body) !== "clone") return;
      if (referenceUrlOf(body) === undefined)
        problem("reference_audio_url", "reference_audio_url is required when voice is clone");
      if (referenceTextOf(body) === undefined) {
        const field =
          body.voice === undefined && body.reference_audio_url === undefined ? "audio_text" : "reference_text";
        problem(field, `${field} is required when a voice is cloned`);
      }
    })
    .transform((body) => ({ ...body, input: toInput(body) }));
}

interface VoiceFields {
  voice?: CsmVoice | "random_voice" | undefined;
  reference_audio_url?: string | undefined;
  reference_text?: string | undefined;
  audio_url?: string | undefined;
  audio_text?: string | undefined;
}

/** With no voice named, the older `audio_url` alone makes it a clone. */
function voiceOf(body: VoiceFields): CsmVoice {
  if (body.voice === undefined) return body.audio_url === undefined ? "random" : "clone";
  return body.voice === "random_voice" ? "random" : body.voice;
}

function referenceUrlOf(body: VoiceFields): string | undefined {
  return body.reference_audio_url ?? body.audio_url;
}

function referenceTextOf(body: VoiceFields): string | undefined {
  return body.reference_text ?? body.audio_text;
}

interface CsmBody extends VoiceFields {
  text?: string | undefined;
  monologue?: string[] | undefined;
  temperature: number;
  topk: number;
  max_audio_length: number;
  pause_duration: number;
}

function toInput(body: CsmBody): CsmInput {
  const voice = voiceOf(body);
  const audioUrl = referenceUrlOf(body);
  const text = referenceTextOf(body);
  return {
    monologue: body.monologue ?? splitText(body.text ?? "", body.max_audio_length),
    voice,
    ...(voice === "clone" && audioUrl !== undefined && text !== undefined ? { reference: { audioUrl, text } } : {}),
    temperature: Math.max(body.temperature, LOWEST_MODEL_TEMPERATURE),
    topk: body.topk,
    maxAudioLengthMs: body.max_audio_length,
    pauseDurationMs: body.pause_duration,
  };
}

/**
 * The items that `text` is spoken in: itself when it can be spoken within `maxAudioLengthMs`, else its
 * sentences, so that the model does not cut it off; a sentence that is too long is split between words.
 */
export function splitText(text: string, maxAudioLengthMs: number): string[] {
  const whole = text.trim();
  const limit = Math.floor((CHARACTERS_PER_SECOND * maxAudioLengthMs) / 1000);
  if (whole.length <= limit) return [whole];
  const sentences = Array.from(new Intl.Segmenter("en", { granularity: "sentence" }).segment(whole));
  return sentences.flatMap(({ segment }) => splitWords(segment.trim(), limit)).filter((part) => part !== "");
}

function splitWords(sentence: string, limit: number): string[] {
  if (sentence.length <= limit) return [sentence];
  const parts: string[] = [];
  let part = "";
  for (const word of sentence.split(/\s+/)) {
    if (part !== "" && part.length + 1 + word.length > limit) {
      parts.push(part);
      part = word;
    } else {
      part = part === "" ? word : `${part} ${word}`;
    }
  }
  return [...parts, part];
}
