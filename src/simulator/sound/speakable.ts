/** Flite was seen to crash on longer ones, whatever they say: `word ` two hundred times, or 300 digits. */
const PIECE_CHARACTERS = 160;
const WORD_CHARACTERS = 24;

/**
 * What Flite can be asked to say of a text, piece by piece. It knows ASCII only, and long texts or words bring it down:
 * accents go, a letter of another script becomes a syllable, and words are cut.
 */
export function speakable(text: string): string[] {
  const spelled = text
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/[‘’]/g, "'")
    .replace(/[^\p{ASCII}\p{L}\p{N}]+/gu, (other) => (/^[\p{Cf}\p{Cs}]+$/u.test(other) ? "" : " "))
    .replace(/[^\p{ASCII}]/gu, "la")
    .replace(/[\p{Cc}\s]+/gu, " ");
  const words = spelled.split(" ").flatMap((word) => word.match(new RegExp(`.{1,${WORD_CHARACTERS}}`, "g")) ?? []);
  const pieces: string[] = [];
  let piece = "";
  for (const word of words) {
    if (piece.length + 1 + word.length > PIECE_CHARACTERS) {
      pieces.push(piece);
      piece = word;
    } else {
      piece = piece === "" ? word : `${piece} ${word}`;
    }
  }
  return piece === "" ? pieces : [...pieces, piece];
}
