import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { type Simulator, startSimulator } from "../../../src/simulator/simulator.ts";
import { wavOf } from "../../../src/simulator/sound/media.ts";
import { probeAudio } from "../../support/audio.ts";
import { eventually } from "../../support/eventually.ts";

const message = z.looseObject({ msg: z.string() });
const completed = z.object({ output: z.object({ data: z.array(z.object({ path: z.string() })) }) });

/** Speaks the protocol by hand: the inconvenient behaviour of the real server is what is tested. */
describe("the simulated CSM app", () => {
  let simulator: Simulator;
  let app: string;
  const headers = { "X-C3-API-KEY": "simulator", "Content-Type": "application/json" };

  before(async () => {
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
  });
  beforeEach(async () => {
    simulator.settings.renderSeconds = undefined;
    const body = JSON.stringify({ type: "media:fast", expires: Math.floor(Date.now() / 1000) + 600 });
    const launched = await (await fetch(`${simulator.comput3Url}/launch`, { method: "POST", headers, body })).json();
    app = `${simulator.url}/nodes/${(launched as { node: string }).node}/csm`;
  });
  after(() => simulator.close());

  const call = (path: string, body: unknown) =>
    fetch(`${app}/gradio_api${path}`, { method: "POST", headers, body: JSON.stringify(body) });

  async function join(session: string, items = ["Hello there."], pause = 150): Promise<string> {
    const data = ["conversational_a", "", null, JSON.stringify(items), 0.9, 50, 10_000, pause];
    const answer = await call("/queue/join?", {
      data,
      event_data: null,
      fn_index: 0,
      trigger_id: null,
      session_hash: session,
    });
    return ((await answer.json()) as { event_id: string }).event_id;
  }

  /** Everything that the stream of a session says, until it ends; aborts when `until` has been said. */
  async function listen(session: string, until?: string) {
    const controller = new AbortController();
    const response = await fetch(`${app}/gradio_api/queue/data?session_hash=${session}`, {
      headers,
      signal: controller.signal,
    });
    const said: z.infer<typeof message>[] = [];
    let text = "";
    for await (const chunk of response.body!) {
      text += Buffer.from(chunk).toString();
      const frames = text.split("\n\n");
      text = frames.pop() ?? "";
      said.push(...frames.map((frame) => message.parse(JSON.parse(frame.slice("data: ".length)))));
      if (said.some(({ msg }) => msg === until)) break;
    }
    controller.abort();
    return said;
  }
  const rendersHere = () => simulator.renders().filter(({ node }) => app.includes(node));

  it("speaks: longer texts and pauses take longer", async () => {
    const lengthOf = async (items: string[], pause: number) => {
      const session = randomUUID();
      await join(session, items, pause);
      const done = (await listen(session)).find(({ msg }) => msg === "process_completed");
      const [file] = completed.parse(done).output.data;
      const sound = await fetch(`${app}/gradio_api/file=${file!.path}`, { headers });
      const { codec, seconds, loudest } = await probeAudio(Buffer.from(await sound.arrayBuffer()));
      assert.equal(codec, "mp3");
      assert.ok(loudest > 1000, "it is silent");
      return seconds;
    };
    const short = await lengthOf(["One.", "Two."], 0);
    const paused = await lengthOf(["One.", "Two."], 1000);
    const long = await lengthOf(["One.", "Two.", "And a third, rather longer sentence."], 0);
    assert.ok(Math.abs(paused - short - 1) < 0.2, `${short} s and ${paused} s`);
    assert.ok(long > short + 1);
  });

  it("delivers what was joined before anybody listened", async () => {
    const session = randomUUID();
    await join(session);
    await eventually("it has rendered", () => rendersHere()[0]?.outcome);
    const said = (await listen(session)).map(({ msg }) => msg);
    assert.deepEqual(
      said.filter((msg) => msg !== "progress"),
      ["estimation", "process_starts", "process_completed", "close_stream"],
    );
  });

  it("loses the result of a stream that drops, while the run goes on", async () => {
    simulator.settings.renderSeconds = 0.5;
    const session = randomUUID();
    await join(session);
    await listen(session, "process_starts");
    await eventually("the run ends", () => rendersHere()[0]?.outcome === "success");
    const [answer] = await listen(session);
    assert.equal(answer?.session_not_found, true);
  });

  it("runs one at a time, and never what waits when its stream drops", async () => {
    simulator.settings.renderSeconds = 0.5;
    const [first, second] = [randomUUID(), randomUUID()];
    await join(first, ["First."]);
    const firstSaid = listen(first);
    await join(second, ["Second."]);
    await listen(second, "estimation");
    await firstSaid;
    const third = randomUUID();
    await join(third, ["Third."]);
    await listen(third);
    assert.deepEqual(
      rendersHere().map((render) => render.arguments.monologue_json),
      ['["First."]', '["Third."]'],
    );
  });

  it("frees the place of a cancelled run at once, while the function goes on", async () => {
    simulator.settings.renderSeconds = 0.8;
    const [first, second] = [randomUUID(), randomUUID()];
    const event = await join(first, ["First."]);
    await eventually("it runs", () => rendersHere().length === 1);
    await call("/cancel", { event_id: event, session_hash: first, fn_index: 0 });
    await join(second, ["Second."]);
    const [one, two] = await eventually("the second runs", () =>
      rendersHere().length === 2 ? rendersHere() : undefined,
    );
    assert.equal(one!.finishedAt, undefined, "the first one still runs");
    await listen(second);
    assert.ok(two!.startedAt < one!.finishedAt!, "they shared the GPU");
  });

  describe("with its window", () => {
    const sentence = "This is a sentence of about sixty letters that is spoken now.";

    /** What becomes of so many sentences of four seconds. */
    async function outcomeOf(count: number, overrides: Record<string, unknown> = {}): Promise<string> {
      const session = randomUUID();
      const args = {
        speaker_voice: "random_voice",
        speaker_text: "",
        speaker_audio: null,
        monologue_json: JSON.stringify(Array.from({ length: count }, () => sentence)),
        temperature: 0.9,
        topk: 50,
        max_audio_length: 10_000,
        pause_duration: 1000,
        ...overrides,
      };
      await call("/queue/join?", { data: Object.values(args), fn_index: 0, session_hash: session });
      const done = (await listen(session)).find(({ msg }) => msg === "process_completed");
      const { output } = z.object({ output: z.object({ error: z.string().nullish() }) }).parse(done);
      return output.error ?? "success";
    }

    async function upload(seconds: number): Promise<object> {
      const form = new FormData();
      const sound = new Int16Array(seconds * 16_000).map((_, index) => 8000 * Math.sin(index / 20));
      form.append("files", new Blob([new Uint8Array(wavOf(sound))]), "voice.wav");
      const init = { method: "POST", headers: { "X-C3-API-KEY": "simulator" }, body: form };
      const [path] = (await (await fetch(`${app}/gradio_api/upload`, init)).json()) as string[];
      return { path };
    }
    const tooLong = (limit: number) =>
      `Generation failed: Inputs too long, must be below max_seq_len - max_generation_len: ${limit}`;

    it("speaks what fits, and fails at the item that does not", async () => {
      assert.equal(await outcomeOf(20), "success");
      assert.equal(await outcomeOf(60), tooLong(2048 - 125));
    });

    it("has less room for what comes after a built-in voice, and for longer items", async () => {
      const fits = async (count: number, overrides = {}) => (await outcomeOf(count, overrides)) === "success";
      const most = async (overrides = {}) => {
        let [low, high] = [1, 60];
        while (high - low > 1) {
          const middle = Math.floor((low + high) / 2);
          if (await fits(middle, overrides)) low = middle;
          else high = middle;
        }
        return low;
      };
      const [random, builtIn, longer] = [
        await most(),
        await most({ speaker_voice: "conversational_a" }),
        await most({ max_audio_length: 30_000 }),
      ];
      assert.ok(builtIn < random && longer < random, `${random}, ${builtIn}, ${longer}`);
    });

    it("has no room at all behind a recording of 160 s", async () => {
      const clone = async (seconds: number) => ({
        speaker_voice: "upload_voice",
        speaker_audio: await upload(seconds),
        speaker_text: "What is said.",
      });
      assert.equal(await outcomeOf(1, await clone(160)), tooLong(1923));
      assert.equal(await outcomeOf(1, await clone(30)), "success");
      assert.equal(await outcomeOf(1, { ...(await clone(30)), speaker_text: "word ".repeat(2000) }), tooLong(1923));
      assert.equal(
        await outcomeOf(1, { speaker_voice: "upload_voice", speaker_text: "word ".repeat(2000) }),
        "success",
      );
    });
  });
});
