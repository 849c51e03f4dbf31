import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import sharp from "sharp";
import { runIdOf } from "../../src/activities/models/runId.ts";
import { type PortraitValues, sonicGraph } from "../../src/activities/models/sonicGraph.ts";
import { ComfyRefused, type ComfyUi, ComfyUnreachable, createComfyUi, type Graph } from "../../src/clients/comfyui.ts";
import type { OutputFile } from "../../src/clients/comfyuiHistory.ts";
import { type PromptRun, runPrompt } from "../../src/clients/comfyuiPrompt.ts";
import { createComput3 } from "../../src/clients/comput3.ts";
import { ModelAborted, ModelFailure } from "../../src/clients/modelCall.ts";
import { isWholeMp4 } from "../../src/media/mp4.ts";
import type { ComfyVersion } from "../../src/simulator/comfyui/answers.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { SAMPLE_RATE, wavOf } from "../../src/simulator/sound/media.ts";
import { eventually } from "../support/eventually.ts";
import { probeVideo } from "../support/video.ts";

type Fault = Parameters<Simulator["fault"]>[0];

const versions: ComfyVersion[] = ["0.3.33", "0.3.49", "0.3.64", "latest"];
const SOUND_SECONDS = 0.5;
/** A run that lasts until somebody ends it. */
const ENDLESS_SECONDS = 20;

describe("ComfyUI", () => {
  const never = new AbortController().signal;
  const sound = new Uint8Array(
    wavOf(new Int16Array(SAMPLE_RATE * SOUND_SECONDS).map((_, index) => 8000 * Math.sin(index / 10))),
  );
  let simulator: Simulator;
  let picture: Uint8Array<ArrayBuffer>;
  let node: string;
  let url: string;
  let comfy: ComfyUi;

  before(async () => {
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
    const image = sharp({ create: { width: 96, height: 64, channels: 3, background: "teal" } });
    picture = new Uint8Array(await image.png().toBuffer());
  });
  beforeEach(async () => {
    simulator.clearFaults();
    Object.assign(simulator.settings, {
      renderSeconds: undefined,
      comfyuiVersion: "0.3.64",
      comfyuiStrangers: false,
      findsFaces: true,
    });
    const comput3 = createComput3({ apiUrl: simulator.comput3Url, apiKey: simulator.apiKey });
    const expires = Math.floor(Date.now() / 1000) + 3600;
    node = (await comput3.launch({ type: "media:fast", expires })).node;
    url = `${simulator.url}/ui/${node}`;
    comfy = createComfyUi(url, simulator.apiKey);
  });
  after(() => simulator.close());

  const fault = (wanted: Omit<Fault, "service">) => simulator.fault({ service: "comfyui", node, ...wanted });
  const renders = () => simulator.renders().filter((render) => render.node === node);
  const calls = (path: string) => simulator.calls().filter((call) => call.node === node && call.path.endsWith(path));
  const untilRendering = (count = 1) => eventually("it renders", () => renders()[count - 1]);

  const upload = async () => ({
    image: await comfy.upload(new File([picture], "face.png"), never),
    audio: await comfy.upload(new File([sound], "voice.wav"), never),
  });

  /** Everything that a call of `runPrompt` needs, with a graph and ids that no other run has. */
  async function newRun(overrides: Partial<PromptRun> = {}, values: Partial<PortraitValues> = {}): Promise<PromptRun> {
    const promptId = runIdOf(randomUUID());
    const filePrefix = `Video_${randomUUID()}`;
    const seed = Number.parseInt(promptId.slice(0, 7), 16);
    const size = { width: 96, height: 64, duration: 4 };
    const graph = sonicGraph({ ...(await upload()), ...size, seed, filename_prefix: filePrefix, ...values });
    const times = { isWhole: isWholeMp4, pollMs: 100, patienceMs: 10_000, settleMs: 10_000 };
    return { graph, promptId, filePrefix, ...times, onProgress: () => {}, signal: never, ...overrides };
  }

  /** A prompt of somebody else on the same node. */
  async function submitForeign(): Promise<string> {
    const { graph } = await newRun();
    return await comfy.submit(graph, randomUUID(), "somebody-else");
  }

  const failureOf = async (run: PromptRun) => {
    const error = await runPrompt(comfy, run).catch((caught: unknown) => caught);
    assert.ok(error instanceof ModelFailure, String(error));
    return error;
  };

  async function download(file: OutputFile): Promise<Buffer> {
    const answer = await fetch(comfy.fileUrl(file), { headers: { "X-C3-API-KEY": simulator.apiKey } });
    assert.equal(answer.status, 200);
    return Buffer.from(await answer.arrayBuffer());
  }

  function changed(graph: Graph, classType: string, inputs: Record<string, unknown>): Graph {
    const entries = Object.entries(graph).map(([id, value]) =>
      value.class_type === classType ? [id, { ...value, inputs: { ...value.inputs, ...inputs } }] : [id, value],
    );
    return Object.fromEntries(entries);
  }

  describe("its calls", () => {
    for (const version of versions) {
      it(`tell the version: ${version}`, async () => {
        simulator.settings.comfyuiVersion = version;
        assert.match(await comfy.version(never), version === "latest" ? /^\d+\.\d+\.\d+$/ : new RegExp(`^${version}$`));
      });
    }

    it("give an upload the name that the node chose for it", async () => {
      const first = await comfy.upload(new File([picture], "face.png"), never);
      assert.equal(await comfy.upload(new File([picture], "face.png"), never), first);
      const other = await comfy.upload(new File([sound], "face.png"), never);
      assert.notEqual(other, first, "another file of that name does not replace it");
      const kept = await download({ filename: other, subfolder: "", type: "input" });
      assert.deepEqual(new Uint8Array(kept), sound);
    });

    it("tell a file that the node does not want from one that did not arrive", async () => {
      fault({ action: "status", path: "/upload/image", status: 413, times: 1 });
      await assert.rejects(upload(), (error) => error instanceof ComfyRefused && /too large/.test(error.message));
      for (const wanted of [
        { action: "status", status: 500 },
        { action: "html_error" },
        { action: "reset" },
      ] as const) {
        fault({ ...wanted, path: "/upload/image", times: 1 });
        await assert.rejects(upload(), ComfyUnreachable);
      }
    });

    it("read an output, if it is there", async () => {
      const file = await runPrompt(comfy, await newRun());
      const video = await comfy.openOutput(file, never);
      assert.equal(await isWholeMp4(video!), true);
      assert.equal(await comfy.openOutput({ ...file, filename: "none.mp4" }, never), undefined);
      fault({ action: "status", path: "/view", times: 1 });
      await assert.rejects(comfy.openOutput(file, never), ComfyUnreachable);
    });

    it("say at once that the key is refused", async () => {
      const stranger = createComfyUi(url, "another key");
      for (const call of [() => stranger.version(never), () => stranger.queue(), () => stranger.history("x")]) {
        await assert.rejects(call, (error) => error instanceof ModelFailure && error.kind === "broken");
      }
    });

    it("refuse a graph of which only a branch is wrong, and take the rest of it out of the queue", async () => {
      simulator.settings.renderSeconds = ENDLESS_SECONDS;
      await submitForeign();
      await untilRendering();
      const { graph } = await newRun();
      const wrong = changed(graph, "SONICSampler", { inference_steps: 0 });
      await assert.rejects(
        comfy.submit(wrong, randomUUID(), "me"),
        (error) => error instanceof ComfyRefused && /SONICSampler \(node 13\)/.test(error.message),
      );
      assert.deepEqual((await comfy.queue()).pending, []);
    });

    it("say what is wrong when nothing of a graph can run", async () => {
      const { graph } = await newRun();
      const preview = Object.entries(graph).find(([, { class_type: type }]) => type === "PreviewImage")?.[0] ?? "";
      const { [preview]: _preview, ...rest } = graph;
      const wrong = changed(rest, "VHS_VideoCombine", { format: "video/none" });
      await assert.rejects(
        comfy.submit(wrong, randomUUID(), "me"),
        (error) =>
          error instanceof ComfyRefused && /VHS_VideoCombine \(node 21\): Value not in list/.test(error.message),
      );
    });
  });

  describe("runPrompt", () => {
    for (const version of versions) {
      describe(`with ComfyUI ${version}`, () => {
        beforeEach(() => {
          simulator.settings.comfyuiVersion = version;
        });

        it("renders a video, with progress on the way", async () => {
          const seen: (number | null)[] = [];
          const run = await newRun({ onProgress: (progress) => seen.push(progress) });
          const file = await runPrompt(comfy, run);
          assert.ok(file.filename.startsWith(run.filePrefix), file.filename);
          const { video, audio, width, height } = await probeVideo(await download(file));
          assert.deepEqual({ video, audio, width, height }, { video: "h264", audio: "aac", width: 96, height: 64 });
          assert.equal(seen.at(-1), 1);
          assert.deepEqual(
            seen,
            seen.toSorted((one, other) => (one ?? 0) - (other ?? 0)),
          );
          assert.equal(renders()[0]?.id === run.promptId, version !== "0.3.33");
        });

        it("finds the run of a caller that died: one prompt, while it renders and after it ended", async () => {
          simulator.settings.renderSeconds = 0.5;
          const run = await newRun();
          const first = runPrompt(comfy, run);
          await untilRendering();
          const second = await runPrompt(comfy, run);
          assert.deepEqual(second, await first);
          assert.deepEqual(await runPrompt(comfy, run), second);
          assert.equal(calls("/prompt").length, 1);
          assert.equal(renders().length, 1);
        });

        it("renders once when the answer to its submission is lost", async () => {
          fault({ action: "drop_reply", path: "/prompt", times: 1 });
          const run = await newRun();
          const file = await runPrompt(comfy, run);
          assert.ok(file.filename.startsWith(run.filePrefix));
          assert.equal(renders().length, 1);
        });

        it("is given up while it renders: the run is interrupted, and the one behind it is not", async () => {
          simulator.settings.renderSeconds = ENDLESS_SECONDS;
          const controller = new AbortController();
          const running = runPrompt(comfy, await newRun({ signal: controller.signal })).catch((error) => error);
          const ours = await untilRendering();
          const foreign = await submitForeign();
          simulator.settings.renderSeconds = 0;
          controller.abort();
          const error = await running;
          assert.ok(error instanceof ModelAborted && error.nodeIdle, String(error));
          assert.equal(ours.outcome, "interrupted");
          await eventually("the other one ends", () => comfy.history(foreign));
          assert.equal(renders()[1]?.outcome, "success");
        });

        it("is given up while it waits in the queue: it leaves, and what runs there runs on", async () => {
          simulator.settings.renderSeconds = ENDLESS_SECONDS;
          await submitForeign();
          const foreign = await untilRendering();
          const controller = new AbortController();
          const seen: string[] = [];
          const onProgress = (_: number | null, detail: string) => void seen.push(detail);
          const run = await newRun({ signal: controller.signal, onProgress });
          const waiting = runPrompt(comfy, run).catch((error) => error);
          await eventually("it waits", () => seen.includes("waiting in the node's queue, 1 before it"));
          controller.abort();
          const error = await waiting;
          assert.ok(error instanceof ModelAborted && error.nodeIdle, String(error));
          assert.deepEqual((await comfy.queue()).pending, []);
          assert.equal(foreign.outcome, undefined);
          assert.deepEqual(calls("/interrupt"), []);
        });
      });
    }

    it("knows its run by its file also when the file lies in a folder", async () => {
      simulator.settings.comfyuiVersion = "0.3.33";
      const run = await newRun();
      const graph = changed(run.graph, "VHS_VideoCombine", { filename_prefix: `portraits/${run.filePrefix}_x` });
      const file = await runPrompt(comfy, { ...run, graph });
      assert.equal(file.subfolder, "portraits");
      assert.deepEqual(await runPrompt(comfy, { ...run, graph }), file);
      assert.equal(renders().length, 1);
    });

    for (const [what, action, path] of [
      ["an error page", "html_error", "/prompt"],
      ["half an answer", "truncate", "/prompt"],
      ["a page that claims success", "wrong_mime", "/history"],
      ["a connection that is reset", "reset", "/queue"],
    ] as const) {
      it(`asks again, and renders once, after ${what} of ${path}`, async () => {
        const run = await newRun();
        fault({ action, path, times: 1 });
        await runPrompt(comfy, run);
        assert.equal(renders().length, 1);
      });
    }

    it("fails, so that it may be tried again, when the server is silent for too long", async () => {
      fault({ action: "reset", path: "/history" });
      const { kind, message } = await failureOf(await newRun({ patienceMs: 0 }));
      assert.equal(kind, "transport", message);
      assert.match(message, /^ComfyUI \/history\/[0-9a-f-]+ could not be reached: /);
    });

    it("fails with node and cause when a node fails, and tells nothing else", async () => {
      fault({ action: "render_error", times: 1 });
      const { kind, message } = await failureOf(await newRun());
      assert.deepEqual([kind, message], ["failed", "ComfyUI failed in SONICSampler (node 13): CUDA out of memory"]);
    });

    it("fails when the graph is refused", async () => {
      const run = await newRun();
      const id = Object.keys(run.graph)[0]!;
      const graph = { ...run.graph, [id]: { class_type: "NoSuchNode", inputs: {} } };
      const { kind, message } = await failureOf({ ...run, graph });
      assert.equal(kind, "failed");
      assert.match(message, /^ComfyUI refused the graph: .*NoSuchNode does not exist/);
      const lost = await failureOf(await newRun({}, { audio: "none.wav" }));
      assert.match(lost.message, /^ComfyUI refused the graph: LoadAudio \(node 32\): .*none\.wav/);
    });

    it("fails when it ends well without a video", async () => {
      const run = await newRun();
      const entries = Object.entries(run.graph).filter(([, { class_type: type }]) => type !== "VHS_VideoCombine");
      const { kind, message } = await failureOf({ ...run, graph: Object.fromEntries(entries) });
      // Not even its own prefix is in such a graph; its id is what it is known by.
      assert.deepEqual([kind, message], ["failed", "ComfyUI ended without a video"]);
    });

    it("fails when somebody interrupts it", async () => {
      simulator.settings.renderSeconds = ENDLESS_SECONDS;
      const run = await newRun();
      const failing = failureOf(run);
      await untilRendering();
      await comfy.interrupt(run.promptId);
      assert.deepEqual((await failing).message, "the run was interrupted on the node");
    });

    it("does without events: a WebSocket that is refused, or closed early", async () => {
      fault({ action: "status", path: "/ws" });
      await runPrompt(comfy, await newRun());
      simulator.clearFaults();
      fault({ action: "end_stream_early", path: "/ws", times: 1 });
      await runPrompt(comfy, await newRun());
      assert.equal(renders().length, 2);
    });

    it("needs no polling while it hears events", async () => {
      await runPrompt(comfy, await newRun({ pollMs: ENDLESS_SECONDS * 1000 }));
    });

    describe("when the server restarts", () => {
      it("finds the file that was finished before", async () => {
        const run = await newRun();
        const file = await runPrompt(comfy, run);
        fault({ action: "restart_app" });
        assert.equal(await comfy.history(run.promptId), undefined, "the history is lost");
        assert.deepEqual(await runPrompt(comfy, run), file);
        assert.equal(renders().length, 1);
      });

      it("renders what was not finished once more", async () => {
        simulator.settings.renderSeconds = ENDLESS_SECONDS;
        const run = await newRun();
        const running = runPrompt(comfy, run);
        await untilRendering();
        simulator.settings.renderSeconds = 0;
        fault({ action: "restart_app" });
        assert.ok((await running).filename.startsWith(run.filePrefix));
        assert.deepEqual(
          renders().map(({ outcome }) => outcome),
          ["lost", "success"],
        );
      });

      it("does not begin a third time", async () => {
        simulator.settings.renderSeconds = ENDLESS_SECONDS;
        const failing = failureOf(await newRun());
        for (const time of [1, 2]) {
          await untilRendering(time);
          fault({ action: "restart_app" });
        }
        const { kind, message } = await failing;
        assert.deepEqual([kind, message], ["failed", "ComfyUI lost the run, twice"]);
        assert.equal(renders().length, 2);
      });
    });

    it("says that the node may not be idle when it cannot see the run end", async () => {
      simulator.settings.renderSeconds = ENDLESS_SECONDS;
      const controller = new AbortController();
      const run = await newRun({ signal: controller.signal, settleMs: 300 });
      const running = runPrompt(comfy, run).catch((error) => error);
      await untilRendering();
      fault({ action: "status", path: "/queue" });
      controller.abort();
      const error = await running;
      assert.ok(error instanceof ModelAborted && !error.nodeIdle, String(error));
    });

    it("submits nothing when it is given up before", async () => {
      await assert.rejects(runPrompt(comfy, await newRun({ signal: AbortSignal.abort() })), ModelAborted);
      assert.deepEqual(calls("/prompt"), []);
    });
  });

  describe("among what other clients left", () => {
    for (const version of versions) {
      it(`finds its own run, before and after it ended: ${version}`, async () => {
        Object.assign(simulator.settings, { comfyuiVersion: version, comfyuiStrangers: true, renderSeconds: 0.5 });
        const run = await newRun();
        const first = runPrompt(comfy, run);
        await untilRendering();
        const video = await runPrompt(comfy, run);
        assert.deepEqual(await first, video);
        assert.deepEqual(await runPrompt(comfy, run), video);
        assert.equal(renders().length, 1);
      });
    }

    it("ends its own run and nobody else's", async () => {
      Object.assign(simulator.settings, { comfyuiStrangers: true, renderSeconds: ENDLESS_SECONDS });
      const given = new AbortController();
      const running = runPrompt(comfy, await newRun({ signal: given.signal })).catch((caught: unknown) => caught);
      await untilRendering();
      given.abort();
      const error = await running;
      assert.ok(error instanceof ModelAborted && error.nodeIdle, String(error));
      assert.equal(calls("/queue").filter(({ method }) => method === "POST").length, 0);
    });
  });

  describe("that is killed while it writes the video", () => {
    it("makes the video again, and does not take the half of it", async () => {
      fault({ action: "half_file", times: 1 });
      const run = await newRun();
      const file = await runPrompt(comfy, run);
      assert.equal(file.filename, `${run.filePrefix}_00002-audio.mp4`);
      assert.equal((await probeVideo(await download(file))).video, "h264");
      assert.equal(renders().length, 2);
    });

    it("finds the whole one among the halves when it was restarted once more", async () => {
      fault({ action: "half_file", times: 1 });
      const run = await newRun();
      const file = await runPrompt(comfy, run);
      fault({ action: "restart_app" });
      assert.deepEqual(await runPrompt(comfy, run), file);
      assert.equal(renders().length, 2);
    });

    it("is given up when it happens every time", async () => {
      fault({ action: "half_file" });
      const { kind, message } = await failureOf(await newRun());
      assert.deepEqual([kind, message], ["failed", "ComfyUI lost the run, twice"]);
    });

    it("waits when it cannot read the file to its end", async () => {
      fault({ action: "half_file", times: 1 });
      const run = await newRun();
      const file = await runPrompt(comfy, run);
      fault({ action: "restart_app" });
      fault({ action: "truncate", path: "/view", times: 1 });
      assert.deepEqual(await runPrompt(comfy, run), file);
      assert.equal(renders().length, 2);
    });
  });

  describe("with a picture in which SONIC sees no face", () => {
    const complaint = "ComfyUI failed in SONIC_PreData (node 31): local variable 'bbox_s' referenced before assignment";

    it("fails in the model's words: one that is too small", async () => {
      for (const size of [{ width: 62 }, { height: 62 }, { width: 2, height: 2 }]) {
        const { kind, message } = await failureOf(await newRun({}, size));
        assert.deepEqual([kind, message], ["failed", complaint]);
      }
    });

    it("fails in the model's words: one without a face", async () => {
      simulator.settings.findsFaces = false;
      assert.equal((await failureOf(await newRun())).message, complaint);
    });
  });
});
