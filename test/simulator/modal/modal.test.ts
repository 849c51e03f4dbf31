import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { ModalClient, NotFoundError, RemoteError, TimeoutError } from "modal";
import sharp from "sharp";
import { z } from "zod";
import { createFaults, faultSchema } from "../../../src/simulator/control/faults.ts";
import { createJournal } from "../../../src/simulator/control/journal.ts";
import { createWorld } from "../../../src/simulator/control/world.ts";
import type { Simulation } from "../../../src/simulator/env.ts";
import { startModalServer } from "../../../src/simulator/modal/modal.ts";
import { createMedia, SAMPLE_RATE, wavOf } from "../../../src/simulator/sound/media.ts";
import { eventually } from "../../support/eventually.ts";

const [UNAUTHENTICATED, UNAVAILABLE, NOT_FOUND] = [16, 14, 5];
const SECONDS = 1.3;

/** Driven by Modal's own client. */
describe("the simulated Modal", () => {
  const media = createMedia();
  let folder: string;
  let files: Server;
  let filesUrl: string;
  let simulation: Simulation;
  let modal: Awaited<ReturnType<typeof startModalServer>>;
  let renderSeconds: number | undefined;
  let returns: "url" | "path" | "bytes";

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-modal-"));
    files = createServer(async (request, response) => {
      const found = await readFile(join(folder, new URL(request.url ?? "", filesUrl).pathname)).catch(() => undefined);
      response.writeHead(found === undefined ? 404 : 200).end(found);
    });
    files.listen(0, "127.0.0.1");
    await once(files, "listening");
    filesUrl = `http://127.0.0.1:${(files.address() as AddressInfo).port}`;
    const tone = Int16Array.from({ length: SAMPLE_RATE * SECONDS }, (_, index) => 9000 * Math.sin(index / 6));
    await writeFile(join(folder, "voice.wav"), wavOf(tone));
    const picture = { width: 321, height: 241, channels: 3 as const, background: "#3060c0" };
    await sharp({ create: picture }).webp().toFile(join(folder, "face.webp"));
    const clip = { still: true, sound: join(folder, "short.wav"), seconds: 0.4 };
    await writeFile(clip.sound, wavOf(tone.subarray(0, SAMPLE_RATE * 0.4)));
    await sharp({ create: picture }).png().toFile(join(folder, "face.png"));
    await media.talkingVideo({ ...clip, picture: join(folder, "face.png"), output: join(folder, "face.mp4") });
  });

  after(async () => {
    const closed = once(files, "close");
    files.close();
    files.closeAllConnections();
    await closed;
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    renderSeconds = undefined;
    returns = "url";
    simulation = {
      world: createWorld({ launchSeconds: 0, ratePerHour: 1 }),
      faults: createFaults(),
      journal: createJournal(),
      apiKey: "secret",
      url: () => filesUrl,
    };
    modal = await startModalServer({
      simulation,
      media,
      folder,
      speed: () => 0,
      renderSeconds: () => renderSeconds,
      publish: (path) => `${filesUrl}/${basename(path)}`,
      returns: () => returns,
    });
  });

  afterEach(async () => {
    await modal.close();
    simulation.world.shutDown();
  });

  /** The client takes the address of the server from the environment alone. */
  function connect(tokenSecret = "secret"): ModalClient {
    const before = process.env.MODAL_SERVER_URL;
    process.env.MODAL_SERVER_URL = modal.url;
    try {
      return new ModalClient({ tokenId: "simulator", tokenSecret });
    } finally {
      if (before === undefined) delete process.env.MODAL_SERVER_URL;
      else process.env.MODAL_SERVER_URL = before;
    }
  }

  const fault = (wanted: object) => simulation.faults.add(faultSchema.parse({ service: "modal", ...wanted }));
  const render = () => simulation.journal.renders[0];
  const pathsCalled = () => simulation.journal.calls.map(({ path }) => path);
  const withCode = (code: number) => (error: unknown) =>
    error instanceof Error && "code" in error && error.code === code;
  const ofImage = (more: object = {}) => ({
    job_id: "job-1",
    image_url: `${filesUrl}/face.webp`,
    audio_url: `${filesUrl}/voice.wav`,
    version: "v15",
    ...more,
  });

  async function spawn(kwargs: Record<string, unknown> = ofImage()) {
    const lipSync = await connect().functions.fromName("musetalk", "lip_sync");
    return await lipSync.spawn([], kwargs);
  }

  async function streamsOf(video: Uint8Array) {
    const path = join(folder, "result.mp4");
    await writeFile(path, video);
    const entries = "stream=codec_name,width,height,pix_fmt:format=duration";
    const args = ["-v", "error", "-show_entries", entries, "-of", "json", path];
    const { streams, format } = JSON.parse((await promisify(execFile)(ffprobeInstaller.path, args)).stdout);
    const loudest = (await media.decode(path)).reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    return { streams, seconds: Number(format.duration), loudest };
  }

  async function assertTalks(video: Uint8Array): Promise<void> {
    const { streams, seconds, loudest } = await streamsOf(video);
    assert.deepEqual(streams, [
      { codec_name: "h264", width: 320, height: 240, pix_fmt: "yuv420p" },
      { codec_name: "aac" },
    ]);
    assert.ok(Math.abs(seconds - SECONDS) < 0.1, `${seconds} s`);
    assert.ok(loudest > 3000, "it is silent");
  }

  it("lays the sound under a picture, and gives the address of the video again and again", async () => {
    const { functionCallId } = await spawn();
    const call = await connect().functionCalls.fromId(functionCallId);
    const result = await call.get({ timeoutMs: 30_000 });
    assert.match(result.output_url, /\.mp4$/);
    assert.deepEqual(await call.get({ timeoutMs: 0 }), result);
    await assertTalks(new Uint8Array(await (await fetch(result.output_url)).arrayBuffer()));
    const { id, node, kind, outcome, arguments: args } = render()!;
    assert.deepEqual(
      { id, node, kind, outcome },
      { id: functionCallId, node: "modal", kind: "lipsync", outcome: "success" },
    );
    assert.deepEqual(args, ofImage());
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.startsWith("lipsync-")),
      [],
    );
  });

  it("repeats a video for as long as the sound is, and hands over bytes", async () => {
    returns = "bytes";
    const call = await spawn(ofImage({ image_url: undefined, video_url: `${filesUrl}/face.mp4` }));
    const { output } = await call.get();
    assert.ok(output instanceof Uint8Array);
    await assertTalks(output);
  });

  it("tells a path when asked to", async () => {
    const call = await spawn(ofImage({ return_as: "path" }));
    assert.deepEqual(await call.get(), { output_path: "/outputs/job-1.mp4" });
  });

  it("makes its caller wait no longer than wanted", async () => {
    renderSeconds = 0.6;
    const call = await spawn();
    await assert.rejects(call.get({ timeoutMs: 0 }), TimeoutError);
    await assert.rejects(call.get({ timeoutMs: 50 }), TimeoutError);
    assert.equal(render()!.outcome, undefined);
    await call.get({ timeoutMs: 20_000 });
    assert.ok(render()!.finishedAt! - render()!.startedAt >= 590);
  });

  it("stops when it is cancelled", async () => {
    renderSeconds = 60;
    const call = await spawn();
    const waiting = assert.rejects(call.get(), RemoteError);
    await call.cancel();
    await waiting;
    await assert.rejects(call.get({ timeoutMs: 1000 }), /^RemoteError: Remote error: InputCancellation\('Input was/);
    assert.equal(render()!.outcome, "interrupted");
  });

  it("raises what the function raises", async () => {
    fault({ action: "render_error", path: "/run", times: 1 });
    const raised = async (kwargs: Record<string, unknown>, what: RegExp) => {
      const call = await spawn(kwargs);
      await assert.rejects(call.get(), (error) => error instanceof RemoteError && what.test(error.message));
    };
    await raised(ofImage(), /^Remote error: ValueError\('a fault of the simulator'\)$/);
    await raised(ofImage({ audio_url: `${filesUrl}/none.wav` }), /HTTPError\('404/);
    await raised(ofImage({ audio_url: `${filesUrl}/face.png` }), /ValueError\('cannot read the audio'\)/);
    await raised(ofImage({ image_url: `${filesUrl}/voice.wav` }), /ValueError\('cannot read the image'\)/);
    await raised(ofImage({ image_url: undefined, video_url: `${filesUrl}/voice.wav` }), /cannot read the video/);
    await raised(ofImage({ image_url: undefined }), /neither/);
    await raised({ job_id: "job-1" }, /TypeError\('lip_sync\(\) got wrong arguments: audio_url/);
    assert.ok(simulation.journal.renders.every(({ outcome }) => outcome === "error"));
  });

  it("knows its app, its function and its calls only", async () => {
    const client = connect();
    await assert.rejects(client.functions.fromName("musetalk", "other"), NotFoundError);
    await assert.rejects(client.functions.fromName("other", "lip_sync"), NotFoundError);
    await assert.rejects(client.functionCalls.fromId("fc-unknown"), withCode(NOT_FOUND));
  });

  it("refuses a wrong token", async () => {
    await assert.rejects(connect("wrong").functions.fromName("musetalk", "lip_sync"), withCode(UNAUTHENTICATED));
    assert.ok(simulation.journal.calls.every(({ status, service }) => status === 500 && service === "modal"));
    assert.deepEqual(pathsCalled(), ["/AuthTokenGet"]);
  });

  it("is unavailable when it is told to be", async () => {
    fault({ action: "status", path: "/FunctionMap" });
    await assert.rejects(spawn(), withCode(UNAVAILABLE));
    assert.equal(pathsCalled().filter((path) => path === "/FunctionMap").length, 4, "the client tries again by itself");
    assert.equal(render(), undefined);
  });

  it("starts a call once, however often its answer is dropped", async () => {
    fault({ action: "drop_reply", path: "/FunctionMap", times: 2 });
    await (await spawn()).get();
    assert.equal(simulation.journal.renders.length, 1);
    fault({ action: "drop_reply", path: "/FunctionMap" });
    await assert.rejects(spawn(), withCode(UNAVAILABLE));
    assert.equal(simulation.journal.renders.length, 2);
    await eventually("the lost call ends", () => simulation.journal.renders[1]!.outcome === "success");
  });

  it("never answers when it is told to hang", async () => {
    fault({ action: "hang", path: "/FunctionGet", times: 1 });
    let answered = false;
    const asked = connect()
      .functions.fromName("musetalk", "lip_sync")
      .finally(() => {
        answered = true;
      });
    asked.catch(() => undefined);
    await eventually("it was asked", () => pathsCalled().includes("/FunctionGet"));
    await connect().functions.fromName("musetalk", "lip_sync");
    assert.equal(answered, false);
    assert.equal(simulation.journal.calls.find(({ path }) => path === "/FunctionGet")!.status, undefined);
  });

  describe("of the original project", () => {
    const original = ({ job_id: _id, ...args } = ofImage()) => ({
      video_path: null,
      audio_path: null,
      video_url: null,
      ...args,
      use_float16: true,
    });

    async function answerTo(kwargs: Record<string, unknown>): Promise<unknown> {
      const runInference = await connect().functions.fromName("musetalk-poc", "run_inference");
      return await (await runInference.spawn([], kwargs)).get({ timeoutMs: 30_000 });
    }

    it("takes its own arguments and answers with a status", async () => {
      const answer = z
        .object({ status: z.literal("completed"), output_url: z.url() })
        .parse(await answerTo(original()));
      await assertTalks(new Uint8Array(await (await fetch(answer.output_url)).arrayBuffer()));
    });

    it("tells a failure as a value", async () => {
      fault({ action: "render_error", path: "/run", times: 1 });
      assert.deepEqual(await answerTo(original()), { status: "failed", error: "a fault of the simulator" });
      const unreadable = await answerTo({ ...original(), audio_url: `${filesUrl}/none.wav` });
      const { status, error } = z.object({ status: z.string(), error: z.string() }).parse(unreadable);
      assert.equal(status, "failed");
      assert.match(error, /^404 Client Error for url: /);
    });

    it("refuses an argument that it does not know", async () => {
      await assert.rejects(answerTo({ ...original(), job_id: "job-1" }), /TypeError\('run_inference\(\).*job_id/);
    });
  });
});
