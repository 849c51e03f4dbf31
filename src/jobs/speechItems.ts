import { spokenSeconds } from "./speechLength.ts";

/** Pieces of a text in its order, which are joined again by what stands between them. */
interface Piece {
  text: string;
  /** With the white space behind it, and without. */
  seconds: number;
  alone: number;
}

/** After these no sentence ends: titles and the like, initials, numbers of a list. */
const unfinished =
  /(?:^|[\s(“"'])(?:(?:Dr|Mr|Mrs|Ms|Mx|Prof|Rev|Hon|Gen|Col|Capt|Lt|Sgt|Sr|Jr|St|Mt|Ft|No|Nos|Vol|Fig|Figs|Ch|Sec|Art|Eq|pp?|vs|etc|approx|ca|cf|al|Inc|Ltd|Corp|Co|Bros|Dept|Est|Ave|Blvd|Rd|e\.g|i\.e|z\.B|d\.h|u\.a|bzw|Nr|Hr|Fr|Mme|Mlle|Sra?|a\.m|p\.m)\.|\p{Lu}\.|\(?\p{N}{1,3}[.)]|\p{Ll}\))\s*$/iu;
const LONGEST_ABBREVIATION = 12;
const clauseEnd = /(?<=[,;:،；：、，–—…]["'”’)\]]*\s*)/u;

/**
 * The items that `text` is spoken in, each within `maxAudioLengthMs`, so that the model does not cut it off: as few as
 * possible, and of about equal length, because there is a pause between two of them. A text is cut between sentences,
 * a sentence that is too long between clauses, a clause between words, and a word only if it must be.
 */
export function splitText(text: string, maxAudioLengthMs: number): string[] {
  const limit = maxAudioLengthMs / 1000;
  return packed(
    sentencesOf(text.trim()).flatMap((sentence) => within(sentence, limit)),
    limit,
  );
}

function within(sentence: string, limit: number): string[] {
  return cut(sentence, limit, [clausesOf, wordsOf, charactersOf]);
}

type Cutter = (text: string) => string[];

/** `text` itself if it fits, else its parts, joined up to what fits; a part that does not fit is cut by the next cutter. */
function cut(text: string, limit: number, [cutter, ...finer]: Cutter[]): string[] {
  if (cutter === undefined || spokenSeconds(text.trim()) <= limit) return [text];
  return packed(
    cutter(text).flatMap((part) => cut(part, limit, finer)),
    limit,
    false,
  );
}

/**
 * Joins neighbours: into the fewest groups within `limit`, of which the longest is as short as possible.
 * @param trimmed whether the groups lose the white space around them
 */
function packed(texts: string[], limit: number, trimmed = true): string[] {
  const pieces = texts.map((text): Piece => {
    return { text, seconds: spokenSeconds(text), alone: spokenSeconds(text.trimEnd()) };
  });
  const fewest = grouped(pieces, limit).length;
  let [low, high] = [Math.max(0, ...pieces.map(({ alone }) => alone)), limit];
  // A tenth of a second is as exact as the estimate is.
  while (high - low > 0.1) {
    const middle = (low + high) / 2;
    if (grouped(pieces, middle).length > fewest) low = middle;
    else high = middle;
  }
  const balanced = evenedOut(grouped(pieces, high), limit);
  const groups = balanced.map((group) => group.map(({ text }) => text).join(""));
  return trimmed ? groups.map((group) => group.trim()).filter((group) => group !== "") : groups;
}

/** The last group is what was left over: it shares with the one before it, so that no word is spoken alone. */
function evenedOut(groups: Piece[][], limit: number): Piece[][] {
  const [before = [], last = []] = groups.slice(-2);
  const tail = [...before, ...last];
  const secondsOf = (group: Piece[]) => group.reduce((sum, { seconds }) => sum + seconds, 0);
  let at = before.length;
  while (at > 1 && secondsOf(tail.slice(at - 1)) <= Math.min(limit, secondsOf(tail.slice(0, at - 1)))) at -= 1;
  return groups.length < 2 ? groups : [...groups.slice(0, -2), tail.slice(0, at), tail.slice(at)];
}

/** Each piece goes to the one before it if both fit. White space at the end of a group is not spoken. */
function grouped(pieces: readonly Piece[], limit: number): Piece[][] {
  const groups: Piece[][] = [];
  let seconds = 0;
  for (const piece of pieces) {
    const last = groups.at(-1);
    if (last !== undefined && seconds + piece.alone <= limit) {
      last.push(piece);
      seconds += piece.seconds;
    } else {
      groups.push([piece]);
      seconds = piece.seconds;
    }
  }
  return groups;
}

/** With the white space behind them, so that joined they are the text again. */
function sentencesOf(text: string): string[] {
  const sentences: string[] = [];
  for (const { segment } of new Intl.Segmenter("en", { granularity: "sentence" }).segment(text)) {
    const last = sentences.at(-1);
    if (last !== undefined && unfinished.test(last.slice(-LONGEST_ABBREVIATION)))
      sentences[sentences.length - 1] = last + segment;
    else sentences.push(segment);
  }
  return sentences;
}

function clausesOf(text: string): string[] {
  return text.split(clauseEnd);
}

/** In languages that are written without spaces, what stands between two spaces is many words. */
function wordsOf(text: string): string[] {
  return text.split(/(?<=\s)(?=\S)/u).flatMap((word) => {
    const segments = Array.from(new Intl.Segmenter(undefined, { granularity: "word" }).segment(word));
    const words = segments.filter(({ isWordLike }) => isWordLike).length;
    if (words < 2 || !/[^\0-\x7f]/.test(word)) return [word];
    // Punctuation stays with the word before it.
    const parts: string[] = [];
    for (const { segment, isWordLike } of segments) {
      const last = parts.pop();
      if (last === undefined) parts.push(segment);
      else if (isWordLike) parts.push(last, segment);
      else parts.push(last + segment);
    }
    return parts;
  });
}

function charactersOf(text: string): string[] {
  return Array.from(new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(text), ({ segment }) => segment);
}
