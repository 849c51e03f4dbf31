import assert from "node:assert/strict";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("every kind of job, end to end", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack();
  });
  after(() => stack.close());

  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;
  async function done(path: string, body: Record<string, unknown>) {
    const answer = await stack.post(path, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    const id = (answer.body.id ?? answer.body.job_id) as string;
    await stack.untilClosed(id);
    const view = await stack.view(id);
    console.log(path, view.state, view.error, view.files, view.timeline);
    return { id, view, result: (await stack.get(`/result/${id}`)).body };
  }

  it("whisper", async () => {
    console.log((await done("/whisper", { audio_url: sample("voice.wav") })).result);
  });
  it("portrait from sound", async () => {
    console.log((await done("/portrait", { image_url: sample("portrait.jpg"), audio_url: sample("clip.mp4") })).result);
  });
  it("portrait from text", async () => {
    console.log((await done("/portrait", { image_url: sample("portrait.jpg"), text: "Hello you." })).result);
  });
  it("analyze", async () => {
    console.log((await done("/analyze", { image_url: sample("portrait.jpg") })).result);
  });
  it("lipsync", async () => {
    console.log((await done("/jobs", { video_url: sample("clip.mp4"), audio_url: sample("voice.wav") })).result);
  });
});
