import assert from "node:assert/strict";
import fc from "fast-check";
import { csmSchema } from "../../src/jobs/csm.ts";
import { splitText } from "../../src/jobs/speech.ts";

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

  it("leaves a word that is too long as it is", () => {
    assert.deepEqual(splitText("A Donaudampfschifffahrtsgesellschaft sails.", 1000), [
      "A",
      "Donaudampfschifffahrtsgesellschaft",
      "sails.",
    ]);
  });
});
