import { ModelFailure } from "../../clients/modelCall.ts";
import { spokenSeconds } from "../../jobs/speechLength.ts";

/**
 * What CSM can have in mind at one time. An item is generated with the prompt, which is the voice, and with everything
 * that the call has spoken so far as context: sound in frames of 80 ms, and text. What the item may take at most
 * (`max_audio_length`) is kept free. https://github.com/SesameAILabs/csm/blob/main/generator.py
 */
const WINDOW_FRAMES = 2048;
const FRAMES_PER_SECOND = 12.5;
/** Built-in voices are recordings of about 28 s, with what is said in them. */
const BUILT_IN_PROMPT_FRAMES = 500;
const MARGIN_FRAMES = 60;
/** The voice may speak more slowly than people do on average. */
const SLOWNESS = 1.3;

/** A recording of a voice, and what is said in it. */
export interface VoicePrompt {
  seconds: number;
  text: string;
}

/**
 * How many of `items`, from the first one on, can be spoken in one call; one at least.
 * @param voice a recording, `built-in`, or `none` for a voice that the model makes up
 */
export function itemsPerCall(items: readonly string[], maxAudioLengthMs: number, voice: Voice): number {
  const longest = frames(maxAudioLengthMs / 1000);
  let left = WINDOW_FRAMES - MARGIN_FRAMES - longest - promptFrames(voice);
  for (const [index, item] of items.entries()) {
    left -= textFrames(item);
    if (left < 0) return Math.max(1, index);
    left -= Math.min(longest, frames(SLOWNESS * spokenSeconds(item)));
  }
  return items.length;
}

type Voice = VoicePrompt | "built-in" | "none";

function promptFrames(voice: Voice): number {
  if (voice === "none") return 0;
  return voice === "built-in" ? BUILT_IN_PROMPT_FRAMES : frames(voice.seconds) + textFrames(voice.text);
}

/** Whether a call was too much for the model all the same. */
export function exceedsWindow(error: unknown): boolean {
  return error instanceof ModelFailure && /Inputs too long/i.test(error.message);
}

function frames(seconds: number): number {
  return Math.ceil(seconds * FRAMES_PER_SECOND);
}

/** A token is about four letters, and about one sign of a script that the model knows less well. */
function textFrames(text: string): number {
  const foreign = text.replaceAll(/[\0-\u024f]/g, "").length;
  return Math.ceil((text.length - foreign) / 3.5 + 1.5 * foreign) + 4;
}

/** More than anybody says in a second; what is beyond was not said in the recording. */
const MOST_LETTERS_PER_SECOND = 25;

/**
 * What is said in the first `keptSeconds` of a recording of `wholeSeconds` in which `text` is said, in proportion, up to
 * the end of a word: the model takes sound and text of a voice for the same words.
 */
export function textOfStart(text: string, keptSeconds: number, wholeSeconds: number): string {
  const said = text.trim();
  const share = Math.min(1, keptSeconds / wholeSeconds);
  const letters = Math.min(said.length * share, MOST_LETTERS_PER_SECOND * keptSeconds);
  let start = "";
  for (const word of said.split(/(?<=\s)/)) {
    if (start !== "" && start.length + word.length / 2 > letters) break;
    start += word;
  }
  return start.trim();
}
