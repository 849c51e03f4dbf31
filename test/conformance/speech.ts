import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import type { GradioRun } from "../support/gradioNode.ts";
import { startWorkerProcess, type WorkerProcess } from "../support/workerProcess.ts";
import { listenTo } from "./listening.ts";
import { JOB_TIMEOUT_MS, type Service, startService, type Version } from "./service.ts";

const LONG_JOB_TIMEOUT_MS = 240_000;
const WINDOW_FRAMES = 2048;
const FRAME_MS = 80;

/** A text of that many characters, in sentences of which no two are the same. */
function textOf(characters: number): string {
  let text = "";
  for (let number = 1; text.length < characters; number += 1) {
    text += `This is sentence number ${number} of a text that goes on for longer than anybody wants to listen. `;
  }
  return text
    .slice(0, characters - 1)
    .trimEnd()
    .padEnd(characters, ".");
}

const words = (text: string) => text.replace(/\s+/g, " ").trim();
/** A pitch that follows itself is heard once. */
const heardOnce = (tones: number[]) => tones.filter((hertz, index) => hertz !== tones[index - 1]);

/** The speech application, through the whole service. */
export function speech(service: () => Service, { small, newest }: Version): void {
  const runs = async () => (await service().node.runs()).filter(({ app }) => app === "csm");
  const speak = (body: object) => service().submit("/csm", body);
  const linkOf = async (id: string) => String((await service().get(`/result/${id}`)).result_url);

  async function spoken(body: object) {
    const id = await speak(body);
    await service().succeeded(id);
    return { runs: await runs(), heard: await listenTo(await linkOf(id)) };
  }

  for (const voice of ["random", "conversational_a", "conversational_b"]) {
    it(`speaks with the voice ${voice}`, async () => {
      const { runs, heard } = await spoken({ text: "Hello from a real Gradio application.", voice });
      assert.equal(runs.length, 1);
      const [{ arguments: given, items }] = runs as [GradioRun];
      assert.equal(given.speaker_voice, voice === "random" ? "random_voice" : voice);
      assert.deepEqual(heard.tones, [items[0]?.hertz]);
      assert.ok(Math.abs(heard.seconds - items[0]!.seconds) < 0.3, JSON.stringify({ heard, items }));
    });
  }

  if (small) return;

  it("sends a monologue with every option, and pauses between its items", async () => {
    const monologue = ["The first of three items.", "The second one of them.", "And the third, which is the last."];
    const { runs, heard } = await spoken({
      monologue,
      voice: "conversational_b",
      temperature: 1.25,
      topk: 20,
      max_audio_length: 5000,
      pause_duration: 400,
    });
    assert.equal(runs.length, 1);
    const [{ arguments: given, items }] = runs as [GradioRun];
    assert.deepEqual(given, {
      speaker_voice: "conversational_b",
      speaker_text: "",
      speaker_audio: null,
      monologue_json: JSON.stringify(monologue),
      temperature: 1.25,
      topk: 20,
      max_audio_length: 5000,
      pause_duration: 400,
    });
    assert.deepEqual(heard.tones, heardOnce(items.map(({ hertz }) => hertz)));
    const expected = items.reduce((sum, { seconds }) => sum + seconds, 0) + 2 * 0.4;
    assert.ok(Math.abs(heard.seconds - expected) < 0.3, `${heard.seconds} s instead of ${expected}`);
  });

  it("speaks in a voice that a recording of a few seconds shows, which arrives as one channel", async () => {
    const text = "In a voice of somebody else.";
    const reference = { reference_audio_url: await service().recording(6, 2), reference_text: "What is said in it." };
    const { runs } = await spoken({ text, voice: "clone", ...reference });
    assert.equal(runs.length, 1);
    const [{ arguments: given, reference: heard }] = runs as [GradioRun];
    assert.deepEqual([given.speaker_voice, given.speaker_text], ["upload_voice", "What is said in it."]);
    assert.equal(heard?.channels, 1);
    assert.ok(Math.abs((heard?.seconds ?? 0) - 6) < 1, JSON.stringify(heard));
  });

  it("speaks in a voice that a recording of five minutes shows: no more of it is sent than the model can use", async function () {
    this.timeout(LONG_JOB_TIMEOUT_MS);
    const text = textOf(2500);
    const reference = { reference_audio_url: await service().recording(300), reference_text: textOf(3000) };
    const id = await speak({ text, voice: "clone", ...reference });
    await service().succeeded(id);
    const made = await runs();
    assertWithinWindow(made);
    for (const { arguments: given, reference: heard } of made) {
      assert.equal(given.speaker_voice, "upload_voice");
      assert.ok((heard?.seconds ?? Number.NaN) <= 60, `a reference of ${heard?.seconds} s`);
    }
    assertWhole(made, text);
  });

  it("lets a picture say a text: the speech of a real Gradio application goes into the video", async () => {
    const image = `${service().simulator.url}/sim/files/portrait.jpg`;
    const id = await service().submit("/portrait", { image_url: image, text: "A picture that speaks." });
    const { files } = await service().succeeded(id);
    assert.ok(
      files.some(({ mime_type }) => mime_type === "video/mp4"),
      JSON.stringify(files),
    );
    assert.equal((await runs()).length, 1);
  });

  if (!newest) return;

  it(`speaks 20,000 characters with the voice random as one file, in order, in calls that fit the model`, async function () {
    this.timeout(LONG_JOB_TIMEOUT_MS);
    const text = textOf(20_000);
    const id = await speak({ text, voice: "random" });
    await eventuallySucceeded(service(), id);
    const made = await runs();
    assertWithinWindow(made);
    assertWhole(made, text);
    assertOneVoice(made);
    const items = made.flatMap((run) => run.items);
    const heard = await listenTo(await linkOf(id));
    assert.deepEqual(heard.tones, heardOnce(items.map(({ hertz }) => hertz)));
    const expected = items.reduce((sum, { seconds }) => sum + seconds, 0) + 0.15 * (items.length - 1);
    assert.ok(Math.abs(heard.seconds / expected - 1) < 0.02, `${heard.seconds} s instead of ${expected}`);
    assert.ok(Math.abs(heard.seconds / (text.length / 14) - 1) < 0.05, `${heard.seconds} s of speech`);
  });

  it("makes a part that is done not again after a worker was killed", async function () {
    this.timeout(LONG_JOB_TIMEOUT_MS);
    const { node } = service();
    const own = await startService({ node, python: "", withoutWorker: true });
    const workers: WorkerProcess[] = [await startWorkerProcess(own.stack.config)];
    try {
      await node.set({ seconds: 1 });
      const text = textOf(6000);
      const id = await own.submit("/csm", { text, voice: "conversational_a" });
      const finished = async () => (await runs()).filter(({ finishedAt }) => finishedAt !== undefined).length;
      await eventually("two parts are done, and the third is being made", async () => (await finished()) >= 2, 60_000);
      await workers[0]?.kill();
      workers.push(await startWorkerProcess(own.stack.config));
      await eventuallySucceeded(own, id);
      const made = await runs();
      assertWithinWindow(made);
      const parts = new Set(made.map(({ arguments: given }) => given.monologue_json));
      assert.ok(parts.size >= 3, `${parts.size} parts`);
      assert.ok(made.length <= parts.size + 1, `${made.length} runs for ${parts.size} parts`);
      const once = made.filter((run, index) => index === made.findLastIndex((other) => samePart(run, other)));
      assertWhole(once, text);
      const heard = await listenTo(String((await own.get(`/result/${id}`)).result_url));
      assert.deepEqual(heard.tones, heardOnce(once.flatMap(({ items }) => items.map(({ hertz }) => hertz))));
    } finally {
      for (const worker of workers) await worker.stop();
      await own.close();
    }
  });
}

function eventuallySucceeded(service: Service, id: string) {
  return eventually(
    `job ${id} has succeeded`,
    async () => {
      const { status, error } = await service.document(id);
      assert.ok(status !== "failed", error);
      return status === "success";
    },
    2 * JOB_TIMEOUT_MS,
  );
}

const samePart = (run: GradioRun, other: GradioRun) => run.arguments.monologue_json === other.arguments.monologue_json;

function assertWithinWindow(runs: GradioRun[]): void {
  for (const { error, items, arguments: given } of runs) {
    assert.ok(error === null || error === "the run was given up", String(error));
    const room = WINDOW_FRAMES - Number(given.max_audio_length) / FRAME_MS;
    assert.ok((items.at(-1)?.context ?? Number.NaN) < room, `${items.at(-1)?.context} of ${room}`);
  }
}

/** Everything was said, in order, and nothing twice. */
function assertWhole(runs: GradioRun[], text: string): void {
  const said = runs.flatMap(({ items }) => items.map((item) => item.text)).join(" ");
  assert.equal(words(said), words(text));
}

/** A random voice is another one in each call: one of the node's own throughout, or the first part as the reference. */
function assertOneVoice(runs: GradioRun[]): void {
  const [first, ...others] = new Set(runs.map(({ arguments: given }) => given.speaker_voice));
  assert.ok(others.length === 0 ? first !== "random_voice" : others.join() === "upload_voice", `${first} ${others}`);
}
