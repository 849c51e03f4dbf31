import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { createClient, type Submissions } from "../../src/sdk/index.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("temporary files that the operator keeps", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({ env: { KEEP_TEMP_FILES: "true" } });
  });
  after(async () => {
    await rm(stack.config.outputDir, { recursive: true, force: true });
    await stack.close();
  });

  /** The names of a job's files, each in a folder of its attempt. */
  async function keptOf<T extends keyof Submissions>(type: T, body: Submissions[T]): Promise<(id: string) => boolean> {
    const id = await createClient({ baseUrl: stack.apiUrl }).submit(type, body);
    await stack.untilState(id, "success");
    const files = await readdir(stack.config.outputDir, { recursive: true });
    const inFolders = files.filter((file) => file.startsWith(`${id}-`)).map((file) => file.split("/")[1]);
    return (name) => inFolders.includes(`${id}${name}`);
  }
  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;

  it("of a transcript: its sound", async () => {
    const has = await keptOf("whisper", { audio_url: sample("voice.wav") });
    assert.ok(has("_input.mp3"));
  });

  it("of a portrait: its picture, its sound, its video", async () => {
    const body = { image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") };
    const has = await keptOf("portrait", body);
    assert.deepEqual([has("_portrait.jpg"), has("_audio.mp3"), has(".mp4")], [true, true, true]);
  });

  it("of a portrait that speaks a text in another voice: also that voice", async () => {
    const voice = {
      voice: "clone",
      reference_audio_url: sample("voice.wav"),
      reference_text: "What is said.",
    } as const;
    const has = await keptOf("portrait", { image_url: sample("portrait.jpg"), text: "Hello.", ...voice });
    const names = ["_portrait.jpg", "_input.mp3", "_audio.mp3", ".mp4"];
    assert.deepEqual(names.filter(has), names);
  });

  it("of a speech: its sound", async () => {
    assert.ok((await keptOf("csm", { text: "Hello." }))(".mp3"));
  });

  it("of a lip-sync job: what it was given and its video", async () => {
    const has = await keptOf("lipsync", { image_url: sample("portrait.jpg"), audio_url: sample("voice.wav") });
    const names = ["_portrait.jpg", "_audio.mp3", ".mp4"];
    assert.deepEqual(names.filter(has), names);
  });
});
