import { z } from "zod";
import { decimal, httpUrl, integer } from "./fields.ts";
import { splitText } from "./speechItems.ts";

/** The voices of the CSM model, in the API's words. */
const voices = ["random", "conversational_a", "conversational_b", "clone"] as const;
export type Voice = (typeof voices)[number];
/** As callers may write them: `random_voice` is an older name of `random`. */
export const voiceNames = [...voices, "random_voice"] as const;

/** What is spoken and how; the part of a job that the CSM model sees. */
export interface SpeechInput {
  /** What is spoken, item by item, with a pause of `pauseDurationMs` between items. */
  monologue: string[];
  voice: Voice;
  /** The voice to clone: a recording and the words spoken in it. Present exactly when `voice` is `clone`. */
  reference?: VoiceReference;
  /** 0.1–2.0 */
  temperature: number;
  /** 1–100 */
  topk: number;
  /** Upper bound of each item's length. */
  maxAudioLengthMs: number;
  pauseDurationMs: number;
}

export interface VoiceReference {
  /** The field that named it. */
  field: "reference_audio_url" | "audio_url";
  audioUrl: string;
  text: string;
}

/** Of what the caller names; what is too long to be spoken at once is divided further. */
const MAX_ITEMS = 200;
/** The model refuses a temperature below this one, the original API does not. */
const LOWEST_MODEL_TEMPERATURE = 0.1;

/** What is not seen and not spoken makes the model babble: controls, marks of the writing direction, soft hyphens. */
const unspoken =
  /[\p{Cc}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffd]|\p{Cs}/gu;
const words = /[\p{L}\p{N}]/u;

/** Text with something in it to say. */
const spokenText = z
  .string()
  .overwrite((text) => text.replaceAll(unspoken, (sign) => (/\p{Cc}|[\u2028\u2029]/u.test(sign) ? " " : "")))
  .regex(words, { error: "must contain something to say: letters or figures" });

/** The fields of everything that speaks. */
export const speechFields = {
  text: spokenText
    .optional()
    .describe(
      "What is spoken, with letters or figures in it; divided between sentences where the model would cut it off",
    ),
  monologue: z
    .array(spokenText)
    .min(1, { error: "must not be empty" })
    .max(MAX_ITEMS)
    .optional()
    .describe(
      "What is spoken, item by item, each with letters or figures in it; instead of `text`. An item that takes longer than `max_audio_length` is divided",
    ),
  voice: z
    .enum(voiceNames)
    .optional()
    .describe(
      "`random` when left out; `random_voice` is an older name of it; `clone` needs a reference. A speech of more than about two minutes is never spoken by a random voice, but by a built-in one",
    ),
  reference_audio_url: httpUrl
    .optional()
    .describe("A recording of the voice to clone, of which the first 30 s of speech are used"),
  reference_text: spokenText.optional().describe("What is said in all of the recording"),
  temperature: decimal(0, 2, 0.9),
  topk: integer(1, 100, 50),
  max_audio_length: integer(1000, 30_000, 10_000).describe("Milliseconds, of each item"),
  pause_duration: integer(0, 500, 150).describe("Milliseconds, between two items"),
};

interface SpeechBody {
  text?: string | undefined;
  monologue?: string[] | undefined;
  voice?: Voice | "random_voice" | undefined;
  reference_audio_url?: string | undefined;
  reference_text?: string | undefined;
  temperature: number;
  topk: number;
  max_audio_length: number;
  pause_duration: number;
}

/** The older names of a reference voice; only `/csm` knows them. */
export interface OlderNames {
  audio_url?: string | undefined;
  audio_text?: string | undefined;
}

/** The fields of a voice that is cloned, by both of their names. */
const references = ["reference_audio_url", "reference_text", "audio_url", "audio_text"] as const;

/**
 * What does not apply may be anything, as programs send their fields whether or not they apply: a reference beside
 * another voice, an older name beside the newer one that wins, a monologue without items beside a text.
 */
export function withoutUnusedSpeech(body: Record<string, unknown>): Record<string, unknown> {
  const used = { ...body };
  if (body.text !== undefined && Array.isArray(body.monologue) && body.monologue.length === 0) delete used.monologue;
  const clones = body.voice === undefined ? body.audio_url !== undefined : body.voice === "clone";
  if (!clones) for (const name of references) delete used[name];
  else if (body.reference_audio_url !== undefined) {
    // The older name may have been what made it a clone.
    used.voice = "clone";
    delete used.audio_url;
  }
  if (body.reference_text !== undefined) delete used.audio_text;
  return used;
}

type Problem = (field: string, message: string) => void;

/** What is wrong with fields that are each right: too much to say, a clone without its voice. */
export function checkSpeech(body: SpeechBody & OlderNames, maxTextChars: number, problem: Problem): void {
  if (body.text !== undefined && body.monologue !== undefined)
    problem("monologue", "give either text or monologue, not both");
  const characters = (body.text ?? "").length + (body.monologue ?? []).join("").length;
  if (characters > maxTextChars)
    problem(body.text === undefined ? "monologue" : "text", `must be at most ${maxTextChars} characters`);
  if (voiceOf(body) !== "clone") return;
  if (body.reference_audio_url === undefined && body.audio_url === undefined)
    problem("reference_audio_url", "reference_audio_url is required when voice is clone");
  if (body.reference_text === undefined && body.audio_text === undefined) {
    const older = body.voice === undefined && body.reference_audio_url === undefined;
    const field = older ? "audio_text" : "reference_text";
    problem(field, `${field} is required when a voice is cloned`);
  }
}

/** With no voice named, the older `audio_url` alone makes it a clone. */
function voiceOf(body: SpeechBody & OlderNames): Voice {
  if (body.voice === undefined) return body.audio_url === undefined ? "random" : "clone";
  return body.voice === "random_voice" ? "random" : body.voice;
}

function referenceOf(body: SpeechBody & OlderNames): VoiceReference | undefined {
  const field = body.reference_audio_url === undefined ? "audio_url" : "reference_audio_url";
  const audioUrl = body[field];
  const text = body.reference_text ?? body.audio_text;
  return audioUrl === undefined || text === undefined ? undefined : { field, audioUrl, text };
}

/** @param otherwise what is said when the body has neither text nor monologue */
export function toSpeech(body: SpeechBody & OlderNames, otherwise = ""): SpeechInput {
  const voice = voiceOf(body);
  const reference = voice === "clone" ? referenceOf(body) : undefined;
  return {
    monologue: itemsOf(body.monologue ?? [body.text ?? otherwise], body.max_audio_length),
    voice,
    ...(reference && { reference }),
    temperature: Math.max(body.temperature, LOWEST_MODEL_TEMPERATURE),
    topk: body.topk,
    maxAudioLengthMs: body.max_audio_length,
    pauseDurationMs: body.pause_duration,
  };
}

/** What is to be spoken, in items that can each be spoken in time. Signs alone, such as an emoji, are not spoken. */
function itemsOf(texts: readonly string[], maxAudioLengthMs: number): string[] {
  return texts.flatMap((text) => splitText(text, maxAudioLengthMs)).filter((item) => words.test(item));
}
