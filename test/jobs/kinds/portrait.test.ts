import assert from "node:assert/strict";
import { portraitSchema } from "../../../src/jobs/kinds/portrait.ts";

const GREETING = "Good day. How are you?";
const MAX_TEXT_CHARS = 200;
const IMAGE_URL = "https://example.com/face.jpg";
const AUDIO_URL = "https://example.com/speech.ogg";
const REFERENCE_URL = "https://example.com/voice.wav";
const schema = portraitSchema({
  maxTimeSeconds: 1200,
  completeInSeconds: 3600,
  maxTextChars: MAX_TEXT_CHARS,
  greeting: GREETING,
});
const inputOf = (body: object) => schema.parse({ image_url: IMAGE_URL, ...body }).input;
const fieldsOf = (body: object) =>
  schema.safeParse({ image_url: IMAGE_URL, ...body }).error?.issues.map((issue) => issue.path.join("."));

function speechOf(body: object) {
  const { sound } = inputOf(body);
  assert.ok("speech" in sound, "no speech is made");
  return sound.speech;
}

describe("the body of POST /portrait", () => {
  it("wants a picture", () => {
    assert.deepEqual(fieldsOf({ image_url: undefined, text: "Hello." }), ["image_url"]);
    assert.deepEqual(fieldsOf({ image_url: "face.jpg", text: "Hello." }), ["image_url"]);
  });

  it("lets the picture speak a recording", () => {
    assert.deepEqual(inputOf({ audio_url: AUDIO_URL }), { imageUrl: IMAGE_URL, sound: { audioUrl: AUDIO_URL } });
    assert.deepEqual(fieldsOf({ audio_url: "javascript:alert(1)" }), ["audio_url"]);
  });

  it("lets a recording win over everything there is to speak", () => {
    for (const speech of [
      { text: "Hello." },
      { text: "Hello.", monologue: ["Hello."] },
      { text: "a".repeat(MAX_TEXT_CHARS + 1) },
      { voice: "clone" },
    ]) {
      assert.deepEqual(inputOf({ audio_url: AUDIO_URL, ...speech }).sound, { audioUrl: AUDIO_URL });
    }
  });

  it("speaks text or monologue with the settings of /csm", () => {
    assert.deepEqual(inputOf({ text: "Hello." }), {
      imageUrl: IMAGE_URL,
      sound: {
        speech: {
          monologue: ["Hello."],
          voice: "random",
          temperature: 0.9,
          topk: 50,
          maxAudioLengthMs: 10_000,
          pauseDurationMs: 150,
        },
      },
    });
    const settings = { temperature: "0", topk: 7.9, max_audio_length: 30_000, pause_duration: 0 };
    assert.deepEqual(speechOf({ monologue: ["One.", " Two. "], voice: "conversational_b", ...settings }), {
      monologue: ["One.", "Two."],
      voice: "conversational_b",
      temperature: 0.1,
      topk: 7,
      maxAudioLengthMs: 30_000,
      pauseDurationMs: 0,
    });
    assert.deepEqual(fieldsOf({ text: "Hello.", voice: "nobody", topk: 101 }), ["voice", "topk"]);
  });

  it("refuses both text and monologue, and too much of either", () => {
    assert.deepEqual(fieldsOf({ text: "a", monologue: ["b"] }), ["monologue"]);
    assert.deepEqual(fieldsOf({ text: "a".repeat(MAX_TEXT_CHARS + 1) }), ["text"]);
    const half = "a".repeat(MAX_TEXT_CHARS / 2);
    assert.deepEqual(speechOf({ monologue: [half, half] }).monologue, [half, half]);
    assert.deepEqual(fieldsOf({ monologue: [half, half, "a"] }), ["monologue"]);
  });

  it("greets in a random voice when it is given nothing to say", () => {
    const { monologue, voice, reference } = speechOf({});
    assert.deepEqual([monologue, voice, reference], [[GREETING], "random", undefined]);
    assert.deepEqual(speechOf({ max_audio_length: 1000 }).monologue, ["Good day.", "How are you?"]);
  });

  it("clones a voice from the reference, which has both a sound and its words", () => {
    const clone = { text: "Hello.", voice: "clone", reference_audio_url: REFERENCE_URL, reference_text: "said" };
    assert.deepEqual(speechOf(clone).reference, {
      field: "reference_audio_url",
      audioUrl: REFERENCE_URL,
      text: "said",
    });
    assert.deepEqual(fieldsOf({ ...clone, reference_audio_url: undefined }), ["reference_audio_url"]);
    assert.deepEqual(fieldsOf({ ...clone, reference_text: undefined }), ["reference_text"]);
    assert.deepEqual(fieldsOf({ ...clone, reference_text: " " }), ["reference_text"]);
  });

  it("ignores a reference that no voice asks for", () => {
    const reference = { reference_audio_url: REFERENCE_URL, reference_text: "said" };
    for (const voice of [undefined, "random_voice", "conversational_a"]) {
      assert.equal(speechOf({ text: "Hello.", voice, ...reference }).reference, undefined, voice);
    }
  });

  it("never takes the recording, or its words, for a reference voice", () => {
    const body = { text: "Hello.", voice: "clone", audio_text: "said" };
    assert.deepEqual(fieldsOf(body), ["reference_audio_url", "reference_text"]);
    assert.deepEqual(inputOf({ ...body, audio_url: AUDIO_URL }).sound, { audioUrl: AUDIO_URL });
  });
});
