import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { type PortraitValues, sonicGraph } from "../../src/activities/models/sonicGraph.ts";
import { createComfyUi, type Graph } from "../../src/clients/comfyui.ts";
import type { ComfyVersion } from "../../src/simulator/comfyui/answers.ts";
import type { Render } from "../../src/simulator/control/journal.ts";
import type { Simulator } from "../../src/simulator/simulator.ts";
import { SAMPLE_RATE, wavOf } from "../../src/simulator/sound/media.ts";
import { startWorker } from "../../src/workers/worker.ts";
import { bundleWorkflows, type RunningWorkers } from "../../src/workers/workers.ts";
import { probeAudio } from "../support/audio.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack, type TestStackOptions } from "../support/stack.ts";
import { probeVideo } from "../support/video.ts";
import { startWorkerProcess, type WorkerProcess } from "../support/workerProcess.ts";

type Fault = Parameters<Simulator["fault"]>[0];

const versions: ComfyVersion[] = ["0.3.33", "0.3.49", "0.3.64", "latest"];
/** A run that lasts until somebody ends it. */
/** Longer than it takes until another worker goes on. It is interrupted at its next step, of 25. */
const ENDLESS_SECONDS = 20;
const TONE_SECONDS = 1.3;
const GREETING = "Well met.";
const tone = wavOf(new Int16Array(SAMPLE_RATE * TONE_SECONDS).map((_, index) => 8000 * Math.sin(index / 10)));

/** What a test does with portraits on a stack. */
interface Portraits {
  stack: TestStack;
  /** The address of one of the simulator's files. */
  file(name: string): string;
  put(name: string, content: Buffer): Promise<string>;
  /** Submits a portrait of the sample picture, saying a short tone unless `body` has it say something. */
  submit(body?: Record<string, unknown>): Promise<string>;
  /** What the nodes rendered for a job, in order. */
  renders(id: string): Render[];
  /** What the node of one class was given. */
  given(render: Render | undefined, classType: string): Record<string, unknown>;
  untilRendering(id: string, count?: number): Promise<Render>;
  untilVideo(id: string): Promise<Awaited<ReturnType<typeof probeVideo>>>;
  /** Its files by name. */
  files(id: string): Promise<Map<string, string>>;
  cancel(id: string): Promise<unknown>;
  fault(fault: Omit<Fault, "service">): void;
  calls(path: string): ReturnType<Simulator["calls"]>;
  /** The ComfyUI of the node that idles. */
  comfy(): ReturnType<typeof createComfyUi>;
  /** Puts a prompt of somebody else into that node's queue. */
  submitForeign(): Promise<string>;
  setRenderSeconds(seconds: number | undefined): void;
}

async function startPortraits(options: TestStackOptions = {}): Promise<Portraits> {
  const stack = await startTestStack({
    ...options,
    // No census in between: one that still lists an instance that has just stopped holds its place for a while.
    gpu: { pools: { "media:fast": { max: 1 } }, reconcileIntervalMs: 60_000, ...options.gpu },
    env: { RENDER_POLLING_INTERVAL: "0.2", PORTRAIT_GREETING: GREETING, ...options.env },
  });
  const { simulator } = stack;
  const file = (name: string) => `${simulator.url}/sim/files/${name}`;
  const put = async (name: string, content: Buffer) => {
    const answer = await fetch(file(name), { method: "POST", body: new Uint8Array(content) });
    assert.equal(answer.status, 201);
    return file(name);
  };
  const given = (render: Render | undefined, classType: string) =>
    (render?.arguments[classType] ?? {}) as Record<string, unknown>;
  const renders = (id: string) =>
    simulator.renders().filter((render) => {
      const prefix = given(render, "VHS_VideoCombine").filename_prefix;
      return String(prefix).includes(`Video_${id}`);
    });
  const comfy = () => {
    const node = simulator.instances().find(({ ended }) => ended === undefined)?.node;
    assert.ok(node, "there is a node");
    return createComfyUi(`${simulator.url}/ui/${node}`, simulator.apiKey);
  };
  await put("tone.wav", tone);
  const picture = await sharp({ create: { width: 96, height: 64, channels: 3, background: "teal" } })
    .png()
    .toBuffer();

  return {
    stack,
    file,
    put,
    renders,
    given,
    comfy,
    async submit(body = {}) {
      const says = ["audio_url", "text", "monologue"].some((field) => field in body)
        ? {}
        : { audio_url: file("tone.wav") };
      const answer = await stack.post("/portrait", { image_url: file("portrait.jpg"), ...says, ...body });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return answer.body.id as string;
    },
    untilRendering: (id, count = 1) => eventually(`portrait ${id} renders`, () => renders(id)[count - 1]),
    async untilVideo(id) {
      await stack.untilState(id, "success");
      const { body } = await stack.get(`/result/${id}`);
      const answer = await fetch(body.result_url as string);
      assert.equal(answer.headers.get("content-type"), "video/mp4");
      return await probeVideo(Buffer.from(await answer.arrayBuffer()));
    },
    async files(id) {
      const { body } = await stack.get(`/jobs/${id}`);
      return new Map((body.files as { name: string; url: string }[]).map(({ name, url }) => [name, url]));
    },
    async cancel(id) {
      const answer = await stack.post(`/job/${id}`, { status: "cancelled" });
      assert.deepEqual(answer, { status: 200, body: { message: `Job ${id} marked as cancelled` } });
    },
    fault: (fault) => simulator.fault({ service: "comfyui", ...fault }),
    calls: (path) => simulator.calls().filter((call) => call.service === "comfyui" && call.path.endsWith(path)),
    async submitForeign() {
      const [server, { signal }] = [comfy(), new AbortController()];
      const graph = sonicGraph({
        image: await server.upload(new File([new Uint8Array(picture)], "foreign.png"), signal),
        audio: await server.upload(new File([new Uint8Array(tone)], "foreign.wav"), signal),
        width: 96,
        height: 64,
        duration: 5,
        // Unlike that of every other run: nothing comes from the node's cache.
        seed: Number.parseInt(randomUUID().slice(0, 7), 16),
        filename_prefix: `Foreign_${randomUUID()}`,
      });
      return await server.submit(graph, randomUUID(), "somebody-else");
    },
    setRenderSeconds(seconds) {
      simulator.settings.renderSeconds = seconds;
    },
  };
}

/** On one version of ComfyUI: a portrait whose worker was killed while it rendered, and the worker that goes on. */
interface Survival {
  on: Portraits;
  id: string;
  successor: RunningWorkers;
}

describe("a portrait, end to end", () => {
  /** They wait long for what a dead worker does not say any more: the other tests run meanwhile. */
  const survivals = new Map<ComfyVersion, Promise<Survival>>();
  let on: Portraits;
  let stack: TestStack;

  before(async () => {
    const bundle = bundleWorkflows();
    for (const [index, version] of versions.entries()) {
      // At the successor's first look some have ended and some still run.
      const survival = survive(version, bundle, index % 2 === 0 ? 3 : ENDLESS_SECONDS);
      survival.catch(() => undefined);
      survivals.set(version, survival);
    }
    on = await startPortraits();
    stack = on.stack;
  });
  afterEach(() => {
    stack.simulator.clearFaults();
    on.setRenderSeconds(undefined);
  });
  after(async function () {
    this.timeout(120_000);
    const started = await Promise.allSettled(survivals.values());
    const ends = started.map(async (survival) => {
      if (survival.status === "rejected") return;
      await survival.value.on.stack.close().finally(() => survival.value.successor.stop());
    });
    await Promise.all([stack?.close(), ...ends]);
  });

  async function survive(
    version: ComfyVersion,
    bundle: ReturnType<typeof bundleWorkflows>,
    renderSeconds: number,
  ): Promise<Survival> {
    const portraits = await startPortraits({
      withoutWorker: true,
      renderSeconds,
      simulator: { comfyuiVersion: version },
    });
    const { config, simulator } = portraits.stack;
    let worker: WorkerProcess | undefined;
    try {
      worker = await startWorkerProcess(config);
      const id = await portraits.submit({ notify_url: `${simulator.url}/sim/hooks/killed` });
      await portraits.untilRendering(id);
      await worker.kill();
      // The folder that it left is removed by the next worker.
      assert.equal((await readdir(config.outputDir)).length, 1);
      return { on: portraits, id, successor: await startWorker(config, await bundle, process.env) };
    } catch (error) {
      await worker?.kill();
      await portraits.stack.stop();
      throw error;
    }
  }

  const csmOf = () => stack.simulator.renders().filter(({ kind }) => kind === "csm");
  const webhook = (name: string) =>
    eventually(`the webhook ${name}`, () => stack.simulator.received(name)[0]).then(({ body }) => JSON.parse(body));
  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;
  const fetchFile = async (url: string) => Buffer.from(await (await fetch(url)).arrayBuffer());
  const near = (seconds: number, wanted: number) =>
    assert.ok(Math.abs(seconds - wanted) <= 0.2, `${seconds} s instead of ${wanted} s`);

  describe("from what it is given", () => {
    it("from a sound: H.264 and AAC, as long as the sound, one link, one webhook", async () => {
      const sound = await probeAudio(await fetchFile(on.file("voice.wav")));
      const id = await on.submit({ audio_url: on.file("voice.wav"), notify_url: hook("sound"), metadata: { n: 1 } });
      const { seconds, ...video } = await on.untilVideo(id);
      assert.deepEqual(video, { video: "h264", audio: "aac", width: 640, height: 480 });
      near(seconds, sound.seconds);
      assert.deepEqual([...(await on.files(id)).keys()], [`${id}.mp4`]);
      const told = await webhook("sound");
      assert.deepEqual({ ...told, result_url: "…" }, { id, status: "success", result_url: "…", metadata: { n: 1 } });
      assert.equal((await fetch(told.result_url)).status, 200);
      assert.deepEqual(csmOf(), []);
      await stack.untilClosed(id);
      assert.deepEqual(await stack.storedInputs(id), [], "the inputs of a job that ended are removed");
    });

    it("from the sound track of a video", async () => {
      const { seconds: wanted } = await probeVideo(await fetchFile(on.file("clip.mp4")));
      const { seconds, audio } = await on.untilVideo(await on.submit({ audio_url: on.file("clip.mp4") }));
      near(seconds, wanted);
      assert.equal(audio, "aac");
    });

    /** Speech first, then the portrait: both files, on one lease. */
    async function spoken(body: Record<string, unknown>) {
      const before = csmOf().length;
      const answer = await stack.post("/portrait", { image_url: on.file("portrait.jpg"), ...body });
      const id = answer.body.id as string;
      const { seconds, video, audio } = await on.untilVideo(id);
      assert.deepEqual([video, audio], ["h264", "aac"]);
      const files = await on.files(id);
      assert.deepEqual([...files.keys()], [`${id}.mp4`, "speech.mp3"]);
      const speech = await probeAudio(await fetchFile(files.get("speech.mp3")!));
      assert.equal(speech.codec, "mp3");
      assert.ok(speech.loudest > 1000, "somebody speaks");
      near(seconds, speech.seconds);
      assert.equal(csmOf().length, before + 1);
      const csm = csmOf().at(-1)!;
      const [portrait, ...more] = on.renders(id);
      assert.deepEqual(more, []);
      assert.equal(portrait?.node, csm.node);
      assert.ok(portrait!.startedAt >= csm.finishedAt!);
      assert.equal((await stack.view(id)).attempts, 1);
      return csm;
    }

    it("from a text: the speech is made first, on the same lease, and is one of the job's files", async () => {
      const csm = await spoken({ text: "Hello from the picture." });
      assert.equal(csm.arguments.monologue_json, '["Hello from the picture."]');
      assert.equal(csm.arguments.speaker_voice, "random_voice");
      assert.equal(stack.simulator.instances().length, 1);
    });

    it("from a monologue with every option of the voice", async () => {
      const csm = await spoken({
        monologue: ["One.", "Two, and three."],
        voice: "conversational_b",
        temperature: 1.25,
        topk: "20",
        max_audio_length: 5000.7,
        pause_duration: 400,
      });
      assert.deepEqual(csm.arguments, {
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

    it("from a text in a cloned voice: the reference is not what the picture says", async () => {
      const reference = { reference_audio_url: on.file("voice.wav"), reference_text: "What is said." };
      const csm = await spoken({ text: "In another voice.", voice: "clone", ...reference });
      assert.equal(csm.arguments.speaker_voice, "upload_voice");
      assert.equal(csm.arguments.speaker_text, "What is said.");
      assert.equal(csm.reference?.channels, 1);
    });

    it("with nothing to say: a greeting", async () => {
      const csm = await spoken({});
      assert.equal(csm.arguments.monologue_json, JSON.stringify([GREETING]));
      assert.equal(csm.arguments.speaker_voice, "random_voice");
    });

    it("from a sound although there is a text", async () => {
      const before = csmOf().length;
      const { seconds } = await on.untilVideo(await on.submit({ audio_url: on.file("tone.wav"), text: "Not spoken." }));
      near(seconds, TONE_SECONDS);
      assert.equal(csmOf().length, before);
    });

    for (const [what, body, says] of [
      [
        "picture is a sound",
        () => ({ image_url: on.file("voice.wav") }),
        /^image_url: this is audio\/wav, not an image/,
      ],
      [
        "sound is a picture",
        () => ({ audio_url: on.file("portrait.jpg") }),
        /^audio_url: this is image\/jpeg, not audio$/,
      ],
    ] as const) {
      it(`fails before a GPU is asked for when the ${what}`, async () => {
        const id = await on.submit(body());
        const { error, attempts } = await stack.untilState(id, "failed");
        assert.match(error ?? "", says);
        assert.equal(attempts, 0);
      });
    }
  });

  describe("the graph", () => {
    const graphOf = async (body: Record<string, unknown>) => {
      const id = await on.submit(body);
      const video = await on.untilVideo(id);
      const [render] = on.renders(id);
      const { width, height } = on.given(render, "ImageResize+");
      return { id, render, size: { width, height }, video };
    };

    it("holds the values of the original, and those of this job", async () => {
      const { id, render } = await graphOf({});
      const arrived = Object.fromEntries(Object.keys(render!.arguments).map((name) => [name, on.given(render, name)]));
      const { seed, ...sampler } = arrived.SONICSampler!;
      const { filename_prefix: prefix, ...combine } = arrived.VHS_VideoCombine!;
      assert.ok(Number.isInteger(seed));
      assert.match(String(prefix), new RegExp(`^Video_${id}_[0-9a-f]{8}$`));
      assert.deepEqual(sampler, { inference_steps: 25, dynamic_scale: 1, fps: 24 });
      assert.deepEqual(combine, {
        loop_count: 0,
        format: "video/h264-mp4",
        pix_fmt: "yuv420p",
        crf: 19,
        save_metadata: true,
        trim_to_audio: true,
        pingpong: false,
        save_output: true,
      });
      // 1.3 s: rounded up, and 3.
      assert.deepEqual(arrived.SONIC_PreData, { min_resolution: 576, duration: 5, expand_ratio: 1 });
      const resize = { interpolation: "nearest", method: "stretch", condition: "always", multiple_of: 0 };
      assert.deepEqual(arrived["ImageResize+"], { width: 640, height: 480, ...resize });
      assert.deepEqual(arrived.ImageOnlyCheckpointLoader, { ckpt_name: "svd_xt.safetensors" });
      const loader = { sonic_unet: "unet.pth", ip_audio_scale: 1, use_interframe: true, dtype: "bf16" };
      assert.deepEqual(arrived.SONICTLoader, loader);
    });

    it("gets a large picture upright and fitted, without its metadata", async () => {
      const [left, right] = ["red", "blue"].map((background) => ({
        create: { width: 3000, height: 4000, channels: 3 as const, background },
      }));
      const half = await sharp(right!).png({ compressionLevel: 1 }).toBuffer();
      const picture = await sharp(left!)
        .extend({ right: 3000, background: "black" })
        .composite([{ input: half, left: 3000, top: 0 }])
        .withMetadata({ orientation: 6 })
        .jpeg()
        .toBuffer();
      const { render, size, video } = await graphOf({ image_url: await on.put("sideways.jpg", picture) });
      assert.deepEqual(size, { width: 480, height: 720 });
      assert.deepEqual({ width: video.width, height: video.height }, size);
      const input = { filename: String(on.given(render, "LoadImage").image), subfolder: "", type: "input" };
      const answer = await fetch(on.comfy().fileUrl(input), { headers: { "X-C3-API-KEY": stack.simulator.apiKey } });
      const arrived = Buffer.from(await answer.arrayBuffer());
      const { format, width, height, orientation, exif } = await sharp(arrived).metadata();
      assert.deepEqual({ format, width, height }, { format: "jpeg", ...size });
      assert.deepEqual([orientation, exif], [undefined, undefined]);
      const pixels = await sharp(arrived).raw().toBuffer({ resolveWithObject: true });
      const at = (y: number) => [...pixels.data.subarray(y * 480 * pixels.info.channels).subarray(0, 3)];
      const [top, bottom] = [at(100), at(620)];
      // Turned clockwise: what was left is on top.
      assert.ok(top[0]! > 200 && top[2]! < 50, `red on top, not ${top}`);
      assert.ok(bottom[2]! > 200 && bottom[0]! < 50, `blue below, not ${bottom}`);
    });

    for (const [from, to] of [
      [
        [333, 251],
        [332, 250],
      ],
      [
        [1999, 501],
        [1280, 320],
      ],
    ] as const) {
      it(`gets a picture of ${from.join("×")} as ${to.join("×")}`, async () => {
        const [width, height] = from;
        const odd = sharp({ create: { width, height, channels: 4, background: "#00800080" } });
        const { size, video } = await graphOf({ image_url: await on.put("odd.png", await odd.png().toBuffer()) });
        assert.deepEqual([size.width, size.height], to);
        assert.deepEqual([video.width, video.height], to);
      });
    }
  });

  describe("when the node makes trouble", () => {
    const succeeds = async (id: string) => {
      near((await on.untilVideo(id)).seconds, TONE_SECONDS);
      assert.equal((await stack.view(id)).attempts, 1);
    };

    it("a lost reply to the submission: there is no second render", async () => {
      on.fault({ action: "drop_reply", path: "/prompt", times: 1 });
      const before = on.calls("/prompt").length;
      const id = await on.submit();
      await succeeds(id);
      assert.equal(on.renders(id).length, 1);
      assert.equal(on.calls("/prompt").length, before + 1);
    });

    it("an upload that fails once: it is tried again", async () => {
      on.fault({ action: "status", status: 500, path: "/upload/image", times: 1 });
      const id = await on.submit();
      await succeeds(id);
      assert.equal(on.renders(id).length, 1);
    });

    it("a file that is too large for the node: the job fails, once and clearly, and the GPU is kept", async () => {
      on.fault({ action: "status", status: 413, path: "/upload/image" });
      const id = await on.submit();
      const { error, gpu } = await stack.untilState(id, "failed");
      assert.equal(error, "the node refused a file because it is too large");
      assert.equal(on.calls("/upload/image").filter(({ status }) => status === 413).length, 1);
      assert.deepEqual(on.renders(id), []);
      stack.simulator.clearFaults();
      const next = await on.submit();
      await succeeds(next);
      assert.equal((await stack.view(next)).gpu?.id, gpu?.id);
    });

    it("a model that fails: the cause in a sentence, and nothing of its insides", async () => {
      on.fault({ action: "render_error", times: 1 });
      const id = await on.submit({ notify_url: hook("render-error") });
      const { error } = await stack.untilState(id, "failed");
      assert.equal(error, "the node ran out of memory");
      assert.deepEqual(await webhook("render-error"), { id, status: "failed", error });
      assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
      const told = [
        await stack.get(`/jobs/${id}`),
        await stack.get(`/status/${id}`),
        stack.simulator.received("render-error"),
      ];
      assert.doesNotMatch(JSON.stringify(told), /traceback|current_inputs|execution\.py|svd_xt/i);
      assert.equal(on.renders(id).length, 1);
    });

    it("no events, or only the first ones: polling finds the video", async () => {
      on.fault({ action: "status", path: "/ws" });
      await succeeds(await on.submit());
      stack.simulator.clearFaults();
      on.fault({ action: "end_stream_early", path: "/ws", times: 1 });
      await succeeds(await on.submit());
      assert.ok(on.calls("/ws").some(({ status }) => status === undefined));
    });

    it("a result that is not there: the job fails and says so", async () => {
      on.setRenderSeconds(1);
      const id = await on.submit();
      await on.untilRendering(id);
      on.fault({ action: "status", status: 404, path: "/view" });
      assert.equal((await stack.untilState(id, "failed")).error, "the node answered 404 for the result");
    });

    it("a result that is gone: it is rendered once more, not found again", async () => {
      on.setRenderSeconds(1);
      const id = await on.submit();
      await on.untilRendering(id);
      on.fault({ action: "status", status: 404, path: "/view", times: 1 });
      await succeeds(id);
      assert.equal(on.renders(id).length, 2);
    });

    it("a result that breaks off: it is fetched again, and not rendered again", async () => {
      on.setRenderSeconds(1);
      const id = await on.submit();
      await on.untilRendering(id);
      const before = on.calls("/view").length;
      on.fault({ action: "truncate", path: "/view", times: 1 });
      await succeeds(id);
      assert.equal(on.calls("/view").length, before + 2);
      assert.equal(on.renders(id).length, 1);
    });

    it("a node that dies: another one renders, and the speech is not made again", async () => {
      on.setRenderSeconds(2);
      const before = csmOf().length;
      const id = await on.submit({ text: "Said once." });
      const { node } = await on.untilRendering(id);
      on.setRenderSeconds(undefined);
      on.fault({ action: "kill_node", node });
      await on.untilVideo(id);
      assert.equal((await stack.view(id)).attempts, 2);
      assert.equal(csmOf().length, before + 1);
      assert.deepEqual(
        on.renders(id).map(({ outcome }) => outcome),
        ["lost", "success"],
      );
    });
  });

  describe("when ComfyUI restarts", () => {
    const restart = async () => {
      const fault = { service: "comfyui", action: "restart_app" };
      const answer = await fetch(`${stack.simulator.url}/sim/faults`, { method: "POST", body: JSON.stringify(fault) });
      assert.equal(answer.status, 201);
    };
    const outcomes = (id: string) => on.renders(id).map(({ outcome }) => outcome);

    it("after the video was finished, before anybody looked: it is found", async () => {
      on.setRenderSeconds(1);
      const id = await on.submit();
      const render = await on.untilRendering(id);
      for (const path of ["/history", "/queue"]) on.fault({ action: "status", path });
      await eventually("the video is finished", () => render.outcome);
      await restart();
      stack.simulator.clearFaults();
      near((await on.untilVideo(id)).seconds, TONE_SECONDS);
      assert.deepEqual(outcomes(id), ["success"]);
    });

    it("while it renders: it is rendered again, once", async () => {
      on.setRenderSeconds(ENDLESS_SECONDS);
      const id = await on.submit();
      await on.untilRendering(id);
      on.setRenderSeconds(0);
      await restart();
      near((await on.untilVideo(id)).seconds, TONE_SECONDS);
      assert.deepEqual(outcomes(id), ["lost", "success"]);
    });

    it("again and again: the job fails and says so", async () => {
      on.setRenderSeconds(ENDLESS_SECONDS);
      const id = await on.submit();
      for (const time of [1, 2]) {
        await on.untilRendering(id, time);
        await restart();
      }
      assert.equal((await stack.untilState(id, "failed")).error, "ComfyUI lost the run, twice");
      assert.deepEqual(outcomes(id), ["lost", "lost"]);
    });
  });

  describe("when it takes too long", () => {
    it("shows its progress; past max_time it fails, is interrupted, and its GPU is lent again", async () => {
      on.setRenderSeconds(ENDLESS_SECONDS);
      const id = await stack.start({
        type: "portrait",
        input: { imageUrl: on.file("portrait.jpg"), sound: { audioUrl: on.file("tone.wav") } },
        maxTimeSeconds: 12,
        notifyUrl: hook("max-time"),
      });
      const render = await on.untilRendering(id);
      await eventually("progress", async () => {
        const { progress } = (await stack.get(`/status/${id}`)).body;
        return typeof progress === "number" && progress > 0 && progress < 1;
      });
      const { error, gpu } = await stack.untilState(id, "failed");
      assert.equal(error, "Job exceeded maximum runtime of 12 seconds");
      assert.deepEqual(await webhook("max-time"), { id, status: "failed", error });
      on.setRenderSeconds(0);
      const next = await on.submit();
      await on.untilVideo(next);
      assert.equal(render.outcome, "interrupted");
      assert.equal((await stack.view(next)).gpu?.id, gpu?.id);
      assert.ok(on.renders(next)[0]!.startedAt >= render.finishedAt!, "two runs shared the GPU");
    });
  });

  describe("with the operator's own graph", () => {
    const MAX_SECONDS = 5;
    let folder: string;
    let own: Portraits;
    const placeholders = Object.fromEntries(
      ["image", "audio", "width", "height", "duration", "seed", "filename_prefix"].map((name) => [name, `{{${name}}}`]),
    ) as unknown as PortraitValues;

    before(async () => {
      folder = await mkdtemp(join(tmpdir(), "c3-render-graph-"));
      await writeTemplate((graph) => graph);
      own = await startPortraits({
        env: {
          PORTRAIT_WORKFLOW: join(folder, "graph.json"),
          PORTRAIT_NAMES: JSON.stringify({ Saver: "VHS_VideoCombine", Lacking: "NoSuchNode", "svd.bin": "none.bin" }),
          MAX_PORTRAIT_SECONDS: String(MAX_SECONDS),
        },
      });
    });
    after(async () => {
      await own.stack.close();
      await rm(folder, { recursive: true, force: true });
    });

    const writeTemplate = (change: (graph: Graph) => Graph) =>
      writeFile(join(folder, "graph.json"), JSON.stringify(change(sonicGraph(placeholders))));
    const failureWith = async (change: (graph: Graph) => Graph) => {
      await writeTemplate(change);
      return (await own.stack.untilState(await own.submit(), "failed")).error;
    };
    const NAMES = { picture: "18", checkpoint: "26", sampler: "13", video: "21", preview: "33" };
    const part = (graph: Graph, name: keyof typeof NAMES) => graph[NAMES[name]]!;

    it("fills it in, replaces its names, and fetches the video from the folder that it names", async () => {
      await writeTemplate((graph) => {
        part(graph, "video").class_type = "Saver";
        Object.assign(part(graph, "video").inputs, { filename_prefix: "portraits/{{filename_prefix}}_{{seed}}" });
        Object.assign(part(graph, "sampler").inputs, { inference_steps: 7 });
        return graph;
      });
      const id = await own.submit();
      near((await own.untilVideo(id)).seconds, TONE_SECONDS);
      const [render, ...more] = own.renders(id);
      assert.deepEqual(more, []);
      const { seed, inference_steps: steps } = own.given(render, "SONICSampler");
      assert.equal(steps, 7);
      const { filename_prefix: prefix } = own.given(render, "VHS_VideoCombine");
      assert.match(String(prefix), new RegExp(`^portraits/Video_${id}_[0-9a-f]{8}_${seed}$`));
      const { width, height } = own.given(render, "ImageResize+");
      assert.deepEqual([width, height, own.given(render, "SONIC_PreData").duration], [640, 480, 5]);
    });

    it("fails when the node lacks a class of it", async () => {
      const error = await failureWith((graph) => {
        part(graph, "sampler").class_type = "Lacking";
        return graph;
      });
      assert.match(error ?? "", /^ComfyUI refused the graph: Cannot execute because node NoSuchNode does not exist\./);
    });

    it("fails when the node refuses a branch of it, although the rest could run", async () => {
      const error = await failureWith((graph) => {
        part(graph, "checkpoint").inputs.ckpt_name = "svd.bin";
        return graph;
      });
      assert.match(
        error ?? "",
        /^ComfyUI refused the graph: ImageOnlyCheckpointLoader \(node 26\): Value not in list .*none\.bin/,
      );
    });

    it("fails when it ends well without a video", async () => {
      const error = await failureWith((graph) => {
        const { audio, filename_prefix } = placeholders;
        Object.assign(part(graph, "preview").inputs, { note: `${audio} ${filename_prefix}` });
        delete graph[NAMES.video];
        return graph;
      });
      assert.equal(error, "ComfyUI ended without a video");
    });

    it("has speech that takes too long refused, whoever speaks", async () => {
      await writeTemplate((graph) => graph);
      const long = wavOf(new Int16Array(SAMPLE_RATE * (MAX_SECONDS + 1)).fill(100));
      const recorded = await own.submit({ audio_url: await own.put("long.wav", long) });
      assert.equal((await own.stack.untilState(recorded, "failed")).error, "audio_url: it is longer than 5 s");
      const monologue = Array.from({ length: 4 }, () => "This goes on and on for much too long a time.");
      const spoken = await own.submit({ monologue });
      const { error } = await own.stack.untilState(spoken, "failed");
      assert.match(error ?? "", /^a portrait speaks for 5 s at most, this speech takes \d+ s$/);
      assert.deepEqual(own.renders(spoken), []);
    });

    it("is checked when a worker starts", async () => {
      const file = join(folder, "wrong.json");
      await writeFile(file, '{"1": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}}}');
      const { config } = own.stack;
      const wrong = { ...config, portrait: { ...config.portrait, workflowFile: file } };
      await assert.rejects(startWorker(wrong, { code: "" }, process.env), {
        message: "PORTRAIT_WORKFLOW cannot be used: the template has no {{audio}}",
      });
    });
  });

  for (const version of versions) {
    describe(`with ComfyUI ${version}`, () => {
      let its: Portraits;
      let survivor: string;
      before(async () => {
        const survival = await survivals.get(version)!;
        its = survival.on;
        survivor = survival.id;
      });
      afterEach(() => its.setRenderSeconds(undefined));

      it("survives the SIGKILL of its worker: one prompt, one result, one webhook", async () => {
        near((await its.untilVideo(survivor)).seconds, TONE_SECONDS);
        const renders = its.stack.simulator.renders().filter(({ kind }) => kind === "portrait");
        assert.deepEqual(renders, its.renders(survivor));
        assert.deepEqual(
          renders.map(({ outcome }) => outcome),
          ["success"],
        );
        assert.equal(its.calls("/prompt").length, 1);
        const { attempts, files } = await its.stack.view(survivor);
        assert.deepEqual([attempts, files.length], [1, 1]);
        await its.stack.untilClosed(survivor);
        await eventually("the webhook", () => its.stack.simulator.received("killed").length > 0);
        assert.equal(its.stack.simulator.received("killed").length, 1);
      });

      it("succeeds", async () => {
        const id = await its.submit();
        near((await its.untilVideo(id)).seconds, TONE_SECONDS);
        assert.equal(its.renders(id).length, 1);
      });

      it("cancelled while it renders: it is interrupted, and neither what waits behind it nor the next job", async () => {
        its.setRenderSeconds(ENDLESS_SECONDS);
        const id = await its.submit();
        const render = await its.untilRendering(id);
        const foreign = await its.submitForeign();
        its.setRenderSeconds(0);
        await its.cancel(id);
        assert.equal((await its.stack.get(`/status/${id}`)).body.status, "cancelled");
        const next = await its.submit();
        await its.untilVideo(next);
        assert.equal(await its.stack.untilClosed(id), "CANCELLED");
        assert.equal(render.outcome, "interrupted");
        assert.equal((await its.comfy().history(foreign))?.state, "success");
        const [following] = its.renders(next);
        assert.ok(following!.startedAt >= render.finishedAt!, "two runs shared the GPU");
        assert.equal(following?.node, render.node);
      });

      it("cancelled while it waits in the node's queue: it leaves, and what runs there runs on", async () => {
        await its.stack.untilState(await its.stack.submit(), "success");
        its.setRenderSeconds(ENDLESS_SECONDS);
        const foreign = await its.submitForeign();
        const before = its.calls("/interrupt").length;
        const pending = async () => (await its.comfy().queue()).pending.map(({ graph }) => JSON.stringify(graph));
        const id = await its.submit();
        await eventually("it waits", async () => (await pending()).some((graph) => graph.includes(id)));
        await its.cancel(id);
        assert.equal(await its.stack.untilClosed(id), "CANCELLED");
        assert.deepEqual(await pending(), []);
        assert.deepEqual(its.renders(id), []);
        const { running } = await its.comfy().queue();
        assert.deepEqual(
          running.map((prompt) => prompt.id),
          [foreign],
        );
        assert.equal(its.calls("/interrupt").length, before);
        await its.comfy().interrupt(foreign);
        await eventually("the node is free", async () => (await its.comfy().queue()).running.length === 0);
      });
    });
  }
});
