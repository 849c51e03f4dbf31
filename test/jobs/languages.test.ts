import assert from "node:assert/strict";
import { canBeAligned, languageCodeOf, languageCodes } from "../../src/jobs/languages.ts";

describe("the language of a recording", () => {
  const understood: Record<string, string[]> = {
    en: ["en", "EN", " en ", "en-US", "en_US", "en_US.UTF-8", "en-GB", "eng", "English", "ENGLISH", "American English"],
    de: ["de", "DE", "de-AT", "ger", "deu", "German", "Deutsch", "deutsch"],
    fr: ["fr-CA", "fra", "fre", "français", "French"],
    zh: [
      "zh",
      "zh-CN",
      "zh_TW",
      "zh-Hant-TW",
      "cmn",
      "zho",
      "chi",
      "Chinese",
      "中文",
      "Mandarin",
      "Simplified Chinese",
    ],
    yue: ["yue", "Cantonese", "zh-yue"],
    pt: ["pt-BR", "por", "Português", "Portuguese (Brazil)", "Brazilian Portuguese"],
    no: ["no", "nb", "nb-NO", "nob", "Norwegian", "Norwegian Bokmål"],
    he: ["he", "iw", "heb", "Hebrew"],
    tl: ["tl", "fil", "Tagalog"],
    jw: ["jw", "jv", "Javanese"],
    "": ["", " ", "auto", "AUTO", "detect", "und"],
  };
  for (const [code, written] of Object.entries(understood)) {
    it(`is ${code || "found out by the model"} for ${written.join(", ")}`, () => {
      assert.deepEqual(
        written.map(languageCodeOf),
        written.map(() => code),
      );
    });
  }

  it("is understood for each of Whisper's own codes", () => {
    assert.equal(languageCodes.length, 100);
    assert.deepEqual(languageCodes.map(languageCodeOf), languageCodes);
    assert.ok(languageCodes.filter(canBeAligned).length === 40);
  });

  it("is not made up", () => {
    for (const written of [
      "zz",
      "xx-yy",
      "klingon",
      "tlh",
      "e",
      "1",
      "en us",
      "constructor",
      "__proto__",
      "x".repeat(99),
    ])
      assert.equal(languageCodeOf(written), undefined, written);
  });
});
