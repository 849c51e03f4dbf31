import assert from "node:assert/strict";
import { probeAudio } from "../support/audio.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("a csm job, end to end", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack();
  });
  after(() => stack.close());

  const argumentsOf = () => stack.simulator.renders().at(-1)?.arguments;

  it("speaks a text: an MP3 in the store, a link to it, one webhook", async () => {
    const id = await stack.submit({
      text: "Hello from the tests.",
      notify_url: `${stack.simulator.url}/sim/hooks/speaks`,
      metadata: { order: 7 },
    });
    await stack.untilState(id, "success");
    assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "success" });
    const { body } = await stack.get(`/result/${id}`);
    const file = await fetch(body.result_url as string);
    assert.equal(file.headers.get("content-type"), "audio/mpeg");
    const sound = await probeAudio(Buffer.from(await file.arrayBuffer()));
    assert.equal(sound.codec, "mp3");
    assert.ok(sound.seconds > 1 && sound.loudest > 1000, JSON.stringify(sound));
    const [delivery] = await eventually("the webhook", () => {
      const received = stack.simulator.received("speaks");
      return received.length > 0 ? received : undefined;
    });
    const told = JSON.parse(delivery!.body);
    assert.deepEqual({ ...told, result_url: "…" }, { id, status: "success", result_url: "…", metadata: { order: 7 } });
    assert.equal((await fetch(told.result_url)).status, 200);
  });

  it("sends a monologue with every option to the model", async () => {
    const id = await stack.submit({
      monologue: ["One.", "Two, and three."],
      voice: "conversational_b",
      temperature: 1.25,
      topk: "20",
      max_audio_length: 5000.7,
      pause_duration: 400,
    });
    await stack.untilState(id, "success");
    assert.deepEqual(argumentsOf(), {
      speaker_voice: "conversational_b",
      speaker_text: "",
      speaker_audio: null,
      monologue_json: '["One.","Two, and three."]',
      temperature: 1.25,
      topk: 20,
      max_audio_length: 5000,
      pause_duration: 400,
    });
  });

  const reference = () => `${stack.simulator.url}/sim/files/voice.wav`;

  for (const [form, fields] of Object.entries({
    "the newer fields": () => ({
      voice: "clone" as const,
      reference_audio_url: reference(),
      reference_text: "What is said.",
    }),
    "the older fields": () => ({ audio_url: reference(), audio_text: "What is said." }),
  })) {
    it(`clones a voice by ${form}: a stereo reference arrives at the node as mono`, async () => {
      const id = await stack.submit({ text: "In another voice.", ...fields() });
      await stack.untilState(id, "success");
      const render = stack.simulator.renders().at(-1);
      assert.equal(render?.reference?.channels, 1);
      assert.equal(render?.arguments.speaker_voice, "upload_voice");
      assert.equal(render?.arguments.speaker_text, "What is said.");
      await stack.untilClosed(id);
      assert.deepEqual(await stack.storedInputs(id), [], "the inputs of a job that ended are removed");
    });
  }

  it("splits a text that the model would cut off", async () => {
    const id = await stack.submit({ text: "A first sentence. And a second one.", max_audio_length: 1500 });
    await stack.untilState(id, "success");
    assert.equal(argumentsOf()?.monologue_json, '["A first sentence.","And a second one."]');
  });

  for (const [what, url, says] of [
    ["a text", () => `${stack.simulator.url}/`, /^reference_audio_url: this is text, not audio$/],
    ["a file that is not there", () => `${stack.simulator.url}/sim/files/none.wav`, /the server answered 404$/],
    ["an address inside", () => "http://127.0.0.2/a.wav", /not a public address$/],
  ] as const) {
    it(`fails before a GPU is asked for when the reference is ${what}`, async () => {
      const launched = stack.simulator.instances().length;
      const id = await stack.submit({ text: "Hi.", voice: "clone", reference_audio_url: url(), reference_text: "x" });
      const { error } = await stack.untilState(id, "failed");
      assert.match(error ?? "", says);
      assert.equal(stack.simulator.instances().length, launched);
      assert.equal(await stack.untilClosed(id), "FAILED");
    });
  }
});
