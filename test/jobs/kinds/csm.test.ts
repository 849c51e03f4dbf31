import assert from "node:assert/strict";
import fc from "fast-check";
import { csmSchema } from "../../../src/jobs/kinds/csm.ts";
import { splitText } from "../../../src/jobs/speechItems.ts";
import { spokenSeconds } from "../../../src/jobs/speechLength.ts";

const schema = csmSchema({ maxTimeSeconds: 1200, completeInSeconds: 3600, maxTextChars: 20_000 });
const inputOf = (body: unknown) => schema.parse(body).input;
const fieldsOf = (body: unknown) => schema.safeParse(body).error?.issues.map((issue) => issue.path.join("."));

describe("the body of POST /csm", () => {
  it("takes a text with every default", () => {
    assert.deepEqual(inputOf({ text: "Hello there." }), {
      monologue: ["Hello there."],
      voice: "random",
      temperature: 0.9,
      topk: 50,
      maxAudioLengthMs: 10_000,
      pauseDurationMs: 150,
    });
  });

  it("wants text or monologue, not both and not none", () => {
    assert.deepEqual(fieldsOf({}), ["text"]);
    assert.deepEqual(fieldsOf({ text: "a", monologue: ["b"] }), ["monologue"]);
    assert.deepEqual(fieldsOf({ text: " " }), ["text"]);
    assert.deepEqual(fieldsOf({ monologue: [] }), ["monologue"]);
    assert.deepEqual(fieldsOf({ monologue: ["a", ""] }), ["monologue.1"]);
  });

  it("accepts numeric strings and cuts fractions, but no booleans and no NaN", () => {
    assert.equal(inputOf({ text: "a", topk: "7.9" }).topk, 7);
    assert.equal(inputOf({ text: "a", temperature: "1.5" }).temperature, 1.5);
    assert.deepEqual(fieldsOf({ text: "a", topk: true }), ["topk"]);
    assert.deepEqual(fieldsOf({ text: "a", topk: "many" }), ["topk"]);
    assert.deepEqual(fieldsOf({ text: "a", temperature: Number.NaN }), ["temperature"]);
    assert.deepEqual(fieldsOf({ text: "a", max_time: "" }), ["max_time"]);
  });

  it("sends a temperature below the model's lowest as the lowest", () => {
    assert.equal(inputOf({ text: "a", temperature: 0 }).temperature, 0.1);
  });

  it("knows the older names of a cloned voice", () => {
    const reference = { field: "audio_url", audioUrl: "https://example.com/a.wav", text: "said" };
    assert.deepEqual(inputOf({ text: "a", audio_url: reference.audioUrl, audio_text: "said" }).reference, reference);
    assert.deepEqual(fieldsOf({ text: "a", audio_url: reference.audioUrl }), ["audio_text"]);
    assert.equal(inputOf({ text: "a", voice: "random_voice", audio_url: reference.audioUrl }).reference, undefined);
    assert.deepEqual(fieldsOf({ text: "a", voice: "clone" }), ["reference_audio_url", "reference_text"]);
    const newer = { reference_audio_url: "https://example.com/b.wav", reference_text: "newer" };
    assert.deepEqual(inputOf({ text: "a", voice: "clone", audio_url: reference.audioUrl, ...newer }).reference, {
      field: "reference_audio_url",
      audioUrl: "https://example.com/b.wav",
      text: "newer",
    });
  });

  it("refuses too much text", () => {
    assert.deepEqual(fieldsOf({ text: "a".repeat(20_001) }), ["text"]);
    assert.deepEqual(fieldsOf({ monologue: Array(201).fill("a") }), ["monologue"]);
  });
});

describe("what there is to say", () => {
  const zeroWidth = "\u200b\ufeff\u2060\u200d";
  for (const [what, text] of [
    ["zero-width characters", zeroWidth],
    ["punctuation", "... !!! ???"],
    ["an emoji", "🙂"],
    ["blanks and controls", " \u0007\u202e\t"],
  ] as const) {
    it(`is refused when it is ${what}`, () => {
      assert.deepEqual(fieldsOf({ text }), ["text"]);
      assert.deepEqual(fieldsOf({ monologue: ["Hello.", text] }), ["monologue.1"]);
    });
  }

  it("loses what is not spoken", () => {
    assert.deepEqual(inputOf({ text: "He\u00adllo\u200b\u0000 \u202eworld\ud800." }).monologue, ["Hello  world."]);
    assert.deepEqual(inputOf({ monologue: ["🙂 Hello.", "می‌خواهم"] }).monologue, ["🙂 Hello.", "می‌خواهم"]);
  });

  it("is divided further where an item of a monologue is too long to be said in time", () => {
    const { monologue } = inputOf({ monologue: ["Short.", "word ".repeat(60)] });
    assert.equal(monologue[0], "Short.");
    assert.ok(monologue.length > 2 && monologue.every((item) => spokenSeconds(item) <= 10));
  });
});

describe("splitText", () => {
  it("leaves a text that can be spoken in time as it is", () => {
    assert.deepEqual(splitText("One. Two.", 1000), ["One. Two."]);
  });

  it("loses no word and keeps every part within the limit", () => {
    const text = "First sentence here. A second, rather longer sentence follows it at once! And a third?";
    const parts = splitText(text, 2000);
    assert.equal(parts.join(" "), text);
    assert.ok(
      parts.every((part) => part.length <= 28),
      parts.join("|"),
    );
  });

  it("counts no space at the end of a sentence, neither when it shares the parts out", () => {
    const parts = splitText("a words Hello! a Hello! Hello! 你好。", 1000);
    assert.deepEqual(parts, ["a words Hello!", "a Hello!", "Hello! 你好。"]);
  });

  it("keeps every character of any text, and cuts no word", () => {
    const text = fc.array(fc.constantFrom("a", "Dr.", "3.14", "Hello!", "…", "\n", "e\u0301", "words", "你好。"), {
      minLength: 1,
    });
    const length = fc.integer({ min: 1000, max: 5000 });
    fc.assert(
      fc.property(text, length, (words, maxAudioLengthMs) => {
        const whole = words.join(" ").trim();
        const parts = splitText(whole, maxAudioLengthMs);
        assert.equal(parts.join(" ").replaceAll(/\s+/g, " "), whole.replaceAll(/\s+/g, " "));
        if (whole !== "") assert.ok(parts.every((part) => part.trim() !== ""));
        const limit = (14 * maxAudioLengthMs) / 1000;
        assert.ok(parts.every((part) => part.length <= limit));
      }),
    );
  });

  it("cuts a sentence that is written without spaces between its words", () => {
    const text = "今日はとても良い天気ですから散歩に行きましょう";
    const parts = splitText(text, 1000);
    assert.equal(parts.join(""), text);
    assert.ok(parts.length > 1 && parts.every((part) => part.length <= 14), parts.join("|"));
  });

  const long = { maxMs: 10_000, limit: 10 };
  const cases: [what: string, text: string, maxMs: number, expected: string[] | RegExp][] = [
    [
      "abbreviations and initials stay with what they belong to",
      "Dr. Smith met J. R. R. Tolkien. They had tea with Mrs. Jones on Main St. in Oxford.",
      4000,
      ["Dr. Smith met J. R. R. Tolkien.", "They had tea with Mrs. Jones on Main St. in Oxford."],
    ],
    [
      "the numbers of a list stay with its items",
      "1. Buy some milk. 2. Go home. 3. Drink it.",
      1600,
      ["1. Buy some milk.", "2. Go home.", "3. Drink it."],
    ],
    [
      "a word that cannot be said in time is cut",
      "A Donaudampfschifffahrtsgesellschaft sails.",
      1000,
      ["A Donaudampfsc", "hifffahrtsge", "sellschaft", "sails."],
    ],
    [
      "a sentence is cut between its clauses first",
      "We sailed, we swam, and we slept.",
      1500,
      /^We sailed, we swam,\|/,
    ],
    ["a thousand letters without a blank are cut", "a".repeat(1000), long.maxMs, /^a{125}\|/],
    ["Chinese is cut by what can be said of it", "今天天气很好我们去公园散步".repeat(20), long.maxMs, /^.{40,50}\|/u],
    ["Thai, too", "วันนี้อากาศดีมากเราไปเดินเล่นกันเถอะ".repeat(20), long.maxMs, /^.{80,100}\|/u],
    ["figures take longer than letters", "1234567890 ".repeat(30), long.maxMs, /^[0-9 ]{30,54}\|/],
  ];
  for (const [what, text, maxMs, expected] of cases) {
    it(`makes items that can be said in time: ${what}`, () => {
      const items = splitText(text, maxMs);
      if (expected instanceof RegExp) assert.match(items.join("|"), expected);
      else assert.deepEqual(items, expected);
      assert.ok(
        items.every((item) => spokenSeconds(item) <= maxMs / 1000),
        items.join("|"),
      );
      assert.equal(items.join("").replaceAll(/\s/g, ""), text.replaceAll(/\s/g, ""));
    });
  }

  it("joins thousands of short sentences to few items of equal length", () => {
    for (const sentence of ["No. ", "Yes! ", "One two. ", "是。"]) {
      const text = sentence.repeat(Math.floor(20_000 / sentence.length));
      const items = splitText(text, 10_000);
      const seconds = items.map(spokenSeconds);
      assert.ok(items.length <= 1.1 * Math.ceil(spokenSeconds(text) / 10), `${items.length} items`);
      assert.ok(Math.min(...seconds) > 0.4 * Math.max(...seconds), `${Math.min(...seconds)} s`);
    }
  });
});
