import { stripVTControlCharacters } from "node:util";

const LONGEST_SENTENCE = 300;

/** What somebody else said, as it may be repeated: one line of bounded length, without what a terminal would obey. */
export function oneLine(text: string, longest = LONGEST_SENTENCE): string {
  // Far more than is kept: a pattern over 100 MB holds up everything else.
  const line = stripVTControlCharacters(text.slice(0, 100 * longest))
    .replaceAll(/[\s\p{Cc}\u202a-\u202e\u2066-\u2069]+/gu, " ")
    .trim();
  const kept = line.length <= longest ? line : `${line.slice(0, longest - 1)}…`;
  return kept.replaceAll(/\p{Cs}/gu, "\ufffd");
}

/** What went wrong, in the words of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether text can be part of a URL, and of what is kept of a job. */
export function isName(text: string, longest = 1024): boolean {
  return text !== "" && text.length <= longest && !/[\p{Cs}\p{Cc}]/u.test(text);
}

/** Whether text names a file, and does not climb out of the folder that it is looked for in. */
export function isPath(text: string): boolean {
  return isName(text, 4096) && !text.split(/[/\\]/).includes("..");
}

/** What a terminal would obey, such as the colours and line feeds of a path that somebody asked for, is shown as its code. */
export function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028-\u202e\u2066-\u2069]/gu, (sign) => {
    return `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
