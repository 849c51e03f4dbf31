import type { Heard } from "./listener.ts";

/** The part of a recording that is used as the example of a voice, in seconds of the recording. */
export interface VoicePart {
  start: number;
  end: number;
  fadeSeconds: number;
  /** From the first word of the recording to the last. */
  wholeSeconds: number;
}

/** What a model of voices can use; a longer example leaves it no room for what it is to say. */
export const MAX_VOICE_SECONDS = 30;
/** From here on, a pause is a good end. */
const EARLIEST_END_SECONDS = 20;
const SHORTEST_PAUSE_SECONDS = 0.1;
/** Kept before the first word and after the last. */
const LEAD_SECONDS = 0.1;
const TAIL_SECONDS = 0.25;
/** A word is louder for at least so many windows of five: a click is not. */
const WORD_WINDOWS = 3;

/**
 * What of a recording is used as the example of a voice: from the first word on 30 s at most, up to the longest pause in the
 * last ten of them, so that no word is cut. Where nobody pauses it is faded out. undefined: nothing is said in it.
 */
export function bestPart({ levels, windowSeconds, seconds, isSilent }: Heard): VoicePart | undefined {
  if (isSilent) return undefined;
  const quiet = quietBelow(levels);
  const isWord = (at: number) => levels.slice(at, at + 5).filter((level) => level >= quiet).length >= WORD_WINDOWS;
  const loud = (at: number) => (levels[at] ?? Number.NEGATIVE_INFINITY) >= quiet;
  const first = levels.findIndex((_, at) => loud(at) && isWord(at));
  const last = levels.findLastIndex((_, at) => loud(at) && isWord(Math.max(0, at - 4)));
  if (first === -1 || last === -1) return undefined;
  const start = Math.max(0, first * windowSeconds - LEAD_SECONDS);
  const wholeEnd = Math.min(seconds, (last + 1) * windowSeconds + TAIL_SECONDS);
  const wholeSeconds = wholeEnd - start;
  const part = (end: number) => ({ start, end, fadeSeconds: 0.03, wholeSeconds });
  if (wholeSeconds <= MAX_VOICE_SECONDS) return part(wholeEnd);
  const from = Math.round((start + EARLIEST_END_SECONDS) / windowSeconds);
  const to = Math.round((start + MAX_VOICE_SECONDS) / windowSeconds);
  const pause = longestPause(levels.slice(from, to), quiet);
  if (pause === undefined || pause.windows * windowSeconds < SHORTEST_PAUSE_SECONDS) {
    return part(start + MAX_VOICE_SECONDS);
  }
  const kept = Math.min(TAIL_SECONDS, (pause.windows * windowSeconds) / 2);
  return part((from + pause.at) * windowSeconds + kept);
}

/** Between the noise of the room and the voice, well below the voice in any case. */
function quietBelow(levels: readonly number[]): number {
  const sorted = levels.toSorted((a, b) => a - b);
  const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NEGATIVE_INFINITY;
  const loudest = at(1);
  const spoken = sorted.filter((level) => level > loudest - 40);
  const voice = spoken[Math.floor(0.8 * (spoken.length - 1))] ?? loudest;
  const noise = at(0.1);
  return Math.min(voice - 15, Math.max(voice - 35, noise + 6));
}

function longestPause(levels: readonly number[], quiet: number) {
  let longest: { at: number; windows: number } | undefined;
  let begin: number | undefined;
  for (let at = 0; at <= levels.length; at += 1) {
    const level = levels[at];
    if (level !== undefined && level < quiet) {
      begin ??= at;
    } else if (begin !== undefined) {
      // The later one of two that are as long: more of the voice is kept.
      if (longest === undefined || at - begin >= longest.windows) longest = { at: begin, windows: at - begin };
      begin = undefined;
    }
  }
  return longest;
}
