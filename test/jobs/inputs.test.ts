import assert from "node:assert/strict";
import { inputsOf } from "../../src/jobs/inputs.ts";
import type { JobInputs, JobSpec, JobType } from "../../src/jobs/job.ts";
import { jobTypes } from "../../src/jobs/job.ts";
import type { SpeechInput } from "../../src/jobs/speech.ts";
import { stepsOf } from "../../src/jobs/steps.ts";

const speech: SpeechInput = {
  monologue: ["Hello."],
  voice: "random",
  temperature: 0.9,
  topk: 50,
  maxAudioLengthMs: 10_000,
  pauseDurationMs: 150,
};
const cloned: SpeechInput = {
  ...speech,
  voice: "clone",
  reference: { field: "reference_audio_url", audioUrl: "https://example.com/voice.wav", text: "said" },
};
const examples: JobInputs = {
  csm: speech,
  whisper: { audioUrl: "https://example.com/talk.mp3", model: "medium", task: "transcribe", language: "" },
  portrait: { imageUrl: "https://example.com/face.jpg", sound: { audioUrl: "https://example.com/talk.mp3" } },
  analyze: { imageUrl: "https://example.com/cat.jpg", prompt: "What is it?", model: "llava:7b" },
  lipsync: {
    face: { kind: "video", source: { url: "https://example.com/face.mp4" } },
    audio: { url: "https://example.com/talk.mp3" },
    version: "v15",
  },
};

function jobOf<T extends JobType>(type: T, input: JobInputs[T] = examples[type]): JobSpec {
  return {
    id: "5b5e0c9e-3f59-4f5f-9d8e-0d4f0f0e8a11",
    tenant: "default",
    priority: "normal",
    createdAt: 0,
    completeBy: 3_600_000,
    maxTimeSeconds: 1200,
    type,
    input,
  } as JobSpec;
}

describe("inputsOf", () => {
  const voice = {
    name: "reference_audio",
    field: "reference_audio_url",
    kind: "voice",
    source: { url: "https://example.com/voice.wav" },
  };

  it("has nothing to download for speech in a voice of the model's own", () => {
    assert.deepEqual(inputsOf(jobOf("csm")), []);
  });

  it("wants the voice that is cloned, under the name of the field that gave it", () => {
    assert.deepEqual(inputsOf(jobOf("csm", cloned)), [voice]);
    const older: SpeechInput = { ...cloned, reference: { ...cloned.reference!, field: "audio_url" } };
    assert.deepEqual(inputsOf(jobOf("csm", older)), [{ ...voice, field: "audio_url" }]);
  });

  it("wants the recording of a transcription in full length", () => {
    const source = { url: "https://example.com/talk.mp3" };
    assert.deepEqual(inputsOf(jobOf("whisper")), [{ name: "audio", field: "audio_url", kind: "sound", source }]);
  });

  it("wants the picture of a portrait in its size, and a recording within its length", () => {
    assert.deepEqual(inputsOf(jobOf("portrait")), [
      { name: "image", field: "image_url", kind: "portrait", source: { url: "https://example.com/face.jpg" } },
      { name: "audio", field: "audio_url", kind: "portraitSound", source: { url: "https://example.com/talk.mp3" } },
    ]);
  });

  it("wants only the picture of a portrait that is given words, and the voice if one is cloned", () => {
    const { imageUrl } = examples.portrait;
    const picture = { name: "image", field: "image_url", kind: "portrait", source: { url: imageUrl } };
    assert.deepEqual(inputsOf(jobOf("portrait", { imageUrl, sound: { speech } })), [picture]);
    assert.deepEqual(inputsOf(jobOf("portrait", { imageUrl, sound: { speech: cloned } })), [picture, voice]);
  });

  it("wants the picture that is analyzed", () => {
    const source = { url: "https://example.com/cat.jpg" };
    assert.deepEqual(inputsOf(jobOf("analyze")), [{ name: "image", field: "image_url", kind: "picture", source }]);
  });

  it("wants a face and a sound for lip-sync, from where the job says", () => {
    assert.deepEqual(inputsOf(jobOf("lipsync")), [
      { name: "video", field: "video_url", kind: "video", source: { url: "https://example.com/face.mp4" } },
      { name: "audio", field: "audio_url", kind: "lipSound", source: { url: "https://example.com/talk.mp3" } },
    ]);
    const paths = { face: { kind: "image", source: { path: "face.jpg" } }, audio: { path: "a/talk.mp3" } } as const;
    assert.deepEqual(inputsOf(jobOf("lipsync", { ...paths, version: "v1" })), [
      { name: "image", field: "image_path", kind: "face", source: { path: "face.jpg" } },
      { name: "audio", field: "audio_path", kind: "lipSound", source: { path: "a/talk.mp3" } },
    ]);
  });

  it("gives the inputs of one job names that differ", () => {
    const portrait = jobOf("portrait", { ...examples.portrait, sound: { speech: cloned } });
    for (const job of [...jobTypes.map((type) => jobOf(type)), portrait]) {
      const names = inputsOf(job).map(({ name }) => name);
      assert.equal(new Set(names).size, names.length, job.type);
    }
  });
});

describe("stepsOf", () => {
  it("runs one model for speech, transcripts and descriptions", () => {
    for (const model of ["csm", "whisper", "analyze"] as const) {
      assert.deepEqual(stepsOf(jobOf(model)), [{ model, input: examples[model] }]);
    }
  });

  it("makes the speech of a portrait first, with its voice", () => {
    const portrait = { ...examples.portrait, sound: { speech: cloned } };
    assert.deepEqual(stepsOf(jobOf("portrait", portrait)), [
      { model: "csm", input: cloned },
      { model: "portrait", input: portrait },
    ]);
  });

  it("makes no speech for a portrait that has its recording", () => {
    assert.deepEqual(stepsOf(jobOf("portrait")), [{ model: "portrait", input: examples.portrait }]);
  });

  it("runs nothing on a GPU of ours for lip-sync", () => {
    assert.deepEqual(stepsOf(jobOf("lipsync")), []);
  });
});
