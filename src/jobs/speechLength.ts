/**
 * How fast people speak, in written characters per second. A syllable is one sign in Chinese, Japanese and Korean, and
 * vowels are not written in Arabic and Hebrew; a figure is a word.
 */
const rates: readonly [RegExp, number][] = [
  [/\p{sc=Han}|\p{sc=Hira}|\p{sc=Kana}|\p{sc=Hang}|\p{sc=Bopo}|\p{sc=Yiii}/u, 5],
  [/\p{N}/u, 5],
  [/\p{sc=Arab}|\p{sc=Hebr}|\p{sc=Syrc}|\p{sc=Thai}|\p{sc=Laoo}|\p{sc=Khmr}|\p{sc=Mymr}|\p{sc=Tibt}/u, 10],
  [/\p{sc=Deva}|\p{sc=Beng}|\p{sc=Taml}|\p{sc=Telu}|\p{sc=Mlym}|\p{sc=Knda}|\p{sc=Gujr}|\p{sc=Guru}|\p{sc=Sinh}/u, 10],
];
/** The estimate of the service that this one replaces, for everything else. */
const LETTERS_PER_SECOND = 14;
const ASCII_WITHOUT_FIGURES = /^[\0-/:-\x7f]$/;

/** The seconds that `text` takes to say, roughly. */
export function spokenSeconds(text: string): number {
  let seconds = 0;
  for (const character of text) {
    const rate = ASCII_WITHOUT_FIGURES.test(character)
      ? LETTERS_PER_SECOND
      : (rates.find(([script]) => script.test(character))?.[1] ?? LETTERS_PER_SECOND);
    // Length in UTF-16 units, as everywhere: what is outside the basic plane is two.
    seconds += character.length / rate;
  }
  return seconds;
}
