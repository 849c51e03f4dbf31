/**
 * What CSM can have in mind, in frames of 80 ms of sound or tokens of text: each item is generated with the voice's
 * recording and everything that was spoken before it. https://github.com/SesameAILabs/csm/blob/main/generator.py
 */
const WINDOW = 2048;
const FRAME_MS = 80;
/** The built-in voices are recordings of that length, in which so much is said. */
const BUILT_IN_SECONDS = 28;
const BUILT_IN_CHARACTERS = 350;

export const builtInPrompt = () => soundTokens(BUILT_IN_SECONDS) + Math.ceil(BUILT_IN_CHARACTERS / 4);

export function soundTokens(seconds: number): number {
  return Math.ceil((seconds * 1000) / FRAME_MS);
}

/** One for about four letters, and one for each letter of a script that is not Latin. */
export function textTokens(text: string): number {
  const latin = text.replaceAll(/[^\0-\u024f]/g, "").length;
  return Math.ceil(latin / 4) + (text.length - latin);
}

/** The model's own complaint about an item that does not fit behind its context; undefined when it does. */
export function windowComplaint(context: number, item: string, maxAudioLengthMs: number): string | undefined {
  const limit = WINDOW - Math.floor(maxAudioLengthMs / FRAME_MS);
  if (context + textTokens(item) < limit) return undefined;
  return `Inputs too long, must be below max_seq_len - max_generation_len: ${limit}`;
}
