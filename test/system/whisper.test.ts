import assert from "node:assert/strict";
import { ids } from "../../src/contracts/names.ts";
import { createMedia } from "../../src/simulator/sound/media.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

interface ListedFile {
  name: string;
  url: string;
  mime_type: string;
  bytes: number;
}

/** More than a text that is put into Temporal. */
const LONG_TEXT = Array.from({ length: 1500 }, (_, index) => `Sentence number ${index} of many.`).join(" ");
const ID3_HEADER_BYTES = 10;

/** Through a pipe, ffmpeg cannot go back over 32 KiB to write how long the tag has become. */
function withTagLength(mp3: Buffer): Buffer {
  const length = mp3.indexOf(Buffer.from([0xff, 0xf3])) - ID3_HEADER_BYTES;
  for (const [index, shift] of [21, 14, 7, 0].entries()) mp3[6 + index] = (length >> shift) & 0x7f;
  return mp3;
}

describe("a whisper job, end to end", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({ gpu: { pools: { "media:fast": { max: 1 } } } });
  });
  afterEach(() => {
    stack.simulator.clearFaults();
    Object.assign(stack.simulator.settings, { renderSeconds: undefined, whisperFileParameter: "audio_file" });
  });
  after(() => stack.close());

  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;
  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;
  const runs = () => stack.simulator.renders().filter(({ kind }) => kind === "whisper");
  const textOf = async (id: string) => (await stack.get(`/result/${id}`)).body.text as string;

  async function submit(body: Record<string, unknown> = {}): Promise<string> {
    const answer = await stack.post("/whisper", { audio_url: sample("voice.wav"), ...body });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.deepEqual(answer.body, { id: answer.body.id, status: "queued" });
    return answer.body.id as string;
  }

  async function textFor(body: Record<string, unknown>): Promise<string> {
    const id = await submit(body);
    await stack.untilState(id, "success");
    return await textOf(id);
  }

  async function webhookOf(name: string): Promise<Record<string, unknown>> {
    const delivery = await eventually("the webhook", () => stack.simulator.received(name)[0]);
    return JSON.parse(delivery.body);
  }

  /** An MP3 of a second that a simulated voice made, as far as its tags say. */
  async function publishSpeech(name: string, text: string): Promise<string> {
    const speech = withTagLength(await createMedia().encodeMp3(new Int16Array(16_000), text));
    await fetch(sample(name), { method: "POST", body: new Uint8Array(speech) });
    return sample(name);
  }

  /** Whether `text` is in anything that Temporal keeps of a workflow. */
  async function isInHistory(workflowId: string, text: string): Promise<boolean> {
    const history = await stack.client.workflow.getHandle(workflowId).fetchHistory();
    const holdsText = (value: unknown): boolean => {
      if (value instanceof Uint8Array) return Buffer.from(value).includes(text);
      if (typeof value === "string") return value.includes(text);
      return typeof value === "object" && value !== null && Object.values(value).some(holdsText);
    };
    return holdsText(history.events);
  }

  it("writes down a recording: the text in the result and in the webhook, every file with a link", async () => {
    const id = await submit({ notify_url: hook("transcript"), metadata: { order: 7 } });
    await stack.untilState(id, "success");
    assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "success" });
    const { body } = await stack.get(`/result/${id}`);
    const { text } = body;
    assert.match(text as string, /^This transcript is simulated\. The recording is \d\.\d seconds long\.$/);
    assert.deepEqual(body, { id, status: "success", text, metadata: { order: 7 } });
    assert.deepEqual(await webhookOf("transcript"), { id, status: "success", text, metadata: { order: 7 } });

    const { body: job } = await stack.get(`/jobs/${id}`);
    assert.deepEqual([job.status, job.result], ["success", { text }]);
    const files = job.files as ListedFile[];
    const types = Object.fromEntries(files.map((file) => [file.name.split(".").at(-1), file.mime_type]));
    assert.deepEqual(types, {
      txt: "text/plain; charset=utf-8",
      json: "application/json",
      srt: "application/x-subrip",
      vtt: "text/vtt; charset=utf-8",
      tsv: "text/tab-separated-values; charset=utf-8",
      html: "text/html; charset=utf-8",
    });
    for (const { name, url, mime_type: type, bytes } of files) {
      const answer = await fetch(url);
      assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, type], name);
      const content = await answer.text();
      assert.equal(Buffer.byteLength(content), bytes, name);
      assert.ok(content.includes("This transcript is simulated."), `${name}: ${content}`);
    }
  });

  for (const fileParameter of ["audio_file", "input_file"]) {
    it(`sends each option by its name, to the build of the app that takes ${fileParameter}`, async () => {
      stack.simulator.settings.whisperFileParameter = fileParameter;
      const options = { model: "large-v3", task: "translate", language: "yue" };
      assert.match(await textFor(options), /^\(simulated translation\) /);
      const { arguments: args, file } = runs().at(-1)!;
      const expected = {
        ...options,
        device: "cuda",
        compute_type: "float16",
        batch_size: 16,
        vad_method: "pyannote",
        word_timestamps: true,
        segment_resolution: "sentence",
      };
      for (const [name, value] of Object.entries(expected)) assert.deepEqual(args[name], value, name);
      assert.match(String(args[fileParameter]), /\/audio\.mp3$/);
      assert.ok((file?.bytes ?? 0) > 1000, JSON.stringify(file));
      // What is not ours to choose stays as the app has it.
      assert.deepEqual([args.diarize, args.chunk_size, args.align_model], [false, 30, ""]);
    });
  }

  it("always says which language, or that it is to be found out", async () => {
    await textFor({});
    const { model, task, language } = runs().at(-1)!.arguments;
    assert.deepEqual({ model, task, language }, { model: "medium", task: "transcribe", language: "" });
  });

  it("listens to the sound track of a video", async () => {
    assert.match(await textFor({ audio_url: sample("clip.mp4") }), /The recording is \d\.\d seconds long\.$/);
    assert.match(String(runs().at(-1)!.arguments.audio_file), /\.mp3$/);
  });

  it("hears what a csm job said", async () => {
    const speech = await stack.submit({ monologue: ["Ünïcode, “quoted”.", "And a second sentence."] });
    await stack.untilState(speech, "success");
    const { body } = await stack.get(`/result/${speech}`);
    assert.equal(await textFor({ audio_url: body.result_url }), "Ünïcode, “quoted”. And a second sentence.");
  });

  it("gives a long text whole, without putting it into Temporal", async () => {
    assert.ok(LONG_TEXT.length > 32 * 1024);
    const url = await publishSpeech("long.mp3", LONG_TEXT);
    const id = await submit({ audio_url: url, notify_url: hook("long") });
    await stack.untilState(id, "success");
    assert.ok((await textOf(id)) === LONG_TEXT, "the text is another one");
    assert.ok((await webhookOf("long")).text === LONG_TEXT, "the webhook has another text");
    await stack.untilClosed(id);
    const { historySize = Number.NaN } = await stack.client.workflow.getHandle(ids.job(id)).describe();
    assert.ok(historySize < LONG_TEXT.length, `the history has ${historySize} bytes`);
    for (const workflow of [ids.job(id), ids.webhook(id)]) {
      assert.equal(await isInHistory(workflow, "Sentence number 7 of many."), false, workflow);
    }
  });

  it("shows a short text to whoever looks at the workflow", async () => {
    const url = await publishSpeech("short.mp3", "A few words.");
    const id = await submit({ audio_url: url });
    await stack.untilState(id, "success");
    assert.equal(await stack.untilClosed(id), "COMPLETED");
    assert.equal(await isInHistory(ids.job(id), "A few words."), true);
  });

  for (const [what, fault, runsMade] of [
    ["an upload that the node refuses", { action: "status", path: "/upload" }, 1],
    ["a stream that ends early", { action: "end_stream_early" }, 2],
    ["a file of the result that is cut off", { action: "truncate", path: "file=" }, 1],
  ] as const) {
    it(`tries again after ${what}`, async () => {
      const before = runs().length;
      stack.simulator.fault({ service: "whisper", times: 1, ...fault });
      const id = await submit();
      const view = await stack.untilState(id, "success");
      assert.equal(view.attempts, 1);
      assert.equal(view.files.length, 6);
      assert.equal(runs().length - before, runsMade);
    });
  }

  it("frees the node when it is cancelled, once the run has ended", async () => {
    stack.simulator.settings.renderSeconds = 2;
    const before = runs().length;
    const id = await submit();
    const cancelled = await eventually("it runs", () => runs()[before]);
    const answer = await stack.post(`/job/${id}`, { status: "cancelled" });
    assert.equal(answer.body.message, `Job ${id} marked as cancelled`);
    assert.equal((await stack.get(`/status/${id}`)).body.status, "cancelled");
    assert.equal(cancelled.finishedAt, undefined, "the node is still at it");
    stack.simulator.settings.renderSeconds = 0;
    const next = await submit();
    await stack.untilState(next, "success");
    assert.equal(await stack.untilClosed(id), "CANCELLED");
    const following = runs().at(-1)!;
    assert.ok(following.startedAt >= (cancelled.finishedAt ?? Number.POSITIVE_INFINITY), "two runs shared the GPU");
    assert.equal(following.node, cancelled.node);
    assert.equal(stack.simulator.instances().length, 1, "one instance did all of it");
    assert.deepEqual(await stack.storedInputs(id), []);
  });

  it("fails when the app answers with an error as its transcript", async () => {
    stack.simulator.fault({ service: "whisper", action: "render_error", times: 1 });
    const id = await submit({ notify_url: hook("error") });
    const { error, files } = await stack.untilState(id, "failed");
    assert.equal(error, "the transcription failed: a fault of the simulator");
    assert.deepEqual(files, []);
    assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
    assert.deepEqual(await webhookOf("error"), { id, status: "failed", error });
    assert.equal(await stack.untilClosed(id), "FAILED");
  });
});
