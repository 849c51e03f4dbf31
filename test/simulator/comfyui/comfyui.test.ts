import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import ffprobeInstaller from "@ffprobe-installer/ffprobe";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import sharp from "sharp";
import { WebSocket, WebSocketServer } from "ws";
import { z } from "zod";
import type { ComfyVersion } from "../../../src/simulator/comfyui/answers.ts";
import { createComfyServer } from "../../../src/simulator/comfyui/comfyui.ts";
import { createFaults, faultSchema } from "../../../src/simulator/control/faults.ts";
import { createJournal } from "../../../src/simulator/control/journal.ts";
import { createWorld } from "../../../src/simulator/control/world.ts";
import type { Simulation, SimulatorEnv } from "../../../src/simulator/env.ts";
import { createMedia, SAMPLE_RATE, wavOf } from "../../../src/simulator/sound/media.ts";
import { eventually } from "../../support/eventually.ts";

const SOUND_SECONDS = 1.5;
const STEPS = 10;
const versions: ComfyVersion[] = ["0.3.33", "0.3.49", "0.3.64", "latest"];

const event = z.object({ type: z.string(), data: z.looseObject({}) });
type Event = z.infer<typeof event>;
const submitted = z.object({
  prompt_id: z.string(),
  number: z.number(),
  node_errors: z.record(z.string(), z.unknown()),
});
const nodeErrors = z.record(
  z.string(),
  z.object({
    errors: z.array(
      z.object({ type: z.string(), message: z.string(), details: z.string(), extra_info: z.looseObject({}) }),
    ),
    dependent_outputs: z.array(z.string()),
    class_type: z.string(),
  }),
);
const refused = z.object({ error: z.looseObject({ type: z.string() }), node_errors: nodeErrors });
const video = z.looseObject({ filename: z.string(), subfolder: z.string(), type: z.string(), format: z.string() });
const entry = z.object({
  prompt: z.tuple([z.number(), z.string(), z.looseObject({}), z.looseObject({}), z.array(z.string())]),
  outputs: z.record(z.string(), z.object({ gifs: z.array(video).optional(), images: z.array(z.unknown()).optional() })),
  status: z.object({
    status_str: z.enum(["success", "error"]),
    completed: z.boolean(),
    messages: z.array(z.tuple([z.string(), z.looseObject({})])),
  }),
  meta: z.object({}),
});
const queueItems = z.array(z.tuple([z.number(), z.string(), z.unknown(), z.unknown(), z.array(z.string())]));
const queue = z.object({ queue_running: queueItems, queue_pending: queueItems });

/** Speaks the protocol by hand: the inconvenient behaviour of the real server is what is tested. */
describe("the simulated ComfyUI server", () => {
  let folder: string;
  let simulation: Simulation;
  let http: Server;
  let url: string;
  let comfy: ReturnType<typeof createComfyServer>;
  let version: ComfyVersion;
  let renderSeconds: number | undefined;
  let picture: Buffer;
  let sockets: WebSocket[];
  const sound = wavOf(new Int16Array(SAMPLE_RATE * SOUND_SECONDS).map((_, index) => 8000 * Math.sin(index / 10)));

  before(async () => {
    picture = await sharp({ create: { width: 97, height: 65, channels: 3, background: "teal" } })
      .png()
      .toBuffer();
  });

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-comfyui-"));
    version = "latest";
    renderSeconds = undefined;
    sockets = [];
    const world = createWorld({ launchSeconds: 0, ratePerHour: 0 });
    simulation = { world, faults: createFaults(), journal: createJournal(), apiKey: "", url: () => url };
    comfy = createComfyServer({
      simulation,
      media: createMedia(),
      node: "node-1",
      folder,
      version: () => version,
      speed: () => 0,
      renderSeconds: () => renderSeconds,
    });
    const app = new Hono<SimulatorEnv>().route("/ui", comfy.routes);
    http = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }));
    const acceptor = new WebSocketServer({ noServer: true });
    http.on("upgrade", (incoming, socket, head) => {
      const clientId = new URL(incoming.url ?? "", url).searchParams.get("clientId") ?? "";
      acceptor.handleUpgrade(incoming, socket, head, (accepted) => comfy.attach(accepted, clientId));
    });
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/ui`;
  });

  afterEach(async () => {
    comfy.shutDown();
    for (const socket of sockets) socket.terminate();
    const closed = once(http, "close");
    http.close();
    http.closeAllConnections();
    await closed;
    await rm(folder, { recursive: true, force: true });
  });

  const post = (path: string, body?: unknown) =>
    fetch(`${url}${path}`, { method: "POST", ...(body === undefined ? {} : { body: JSON.stringify(body) }) });

  async function upload(name: string, bytes: Buffer, fields: Record<string, string> = {}) {
    const form = new FormData();
    form.set("image", new Blob([new Uint8Array(bytes)]), name);
    for (const [field, value] of Object.entries(fields)) form.set(field, value);
    return await fetch(`${url}/upload/image`, { method: "POST", body: form });
  }

  /** The portrait graph, with the ids of the original. */
  function graphOf(prefix = "Video_test") {
    return {
      "18": { class_type: "LoadImage", inputs: { image: "face.png" } },
      "26": { class_type: "LoadAudio", inputs: { audio: "voice.wav" } },
      "32": { class_type: "ImageOnlyCheckpointLoader", inputs: { ckpt_name: "svd_xt.safetensors" } },
      "58": {
        class_type: "ImageResize+",
        inputs: {
          image: ["18", 0],
          width: 97,
          height: 65,
          interpolation: "nearest",
          method: "stretch",
          condition: "always",
          multiple_of: 0,
        },
      },
      "34": {
        class_type: "SONICTLoader",
        inputs: { model: ["32", 0], sonic_unet: "unet.pth", ip_audio_scale: 1, use_interframe: true, dtype: "bf16" },
      },
      "33": {
        class_type: "SONIC_PreData",
        inputs: {
          clip_vision: ["32", 1],
          vae: ["32", 2],
          audio: ["26", 0],
          image: ["58", 0],
          weight_dtype: ["34", 1],
          min_resolution: 576,
          duration: 5,
          expand_ratio: 1,
        },
      },
      "31": {
        class_type: "SONICSampler",
        inputs: { model: ["34", 0], data_dict: ["33", 0], seed: 7, inference_steps: STEPS, dynamic_scale: 1, fps: 24 },
      },
      "13": {
        class_type: "VHS_VideoCombine",
        inputs: {
          images: ["31", 0],
          audio: ["26", 0],
          frame_rate: ["31", 1],
          loop_count: 0,
          filename_prefix: prefix,
          format: "video/h264-mp4",
          pix_fmt: "yuv420p",
          crf: 19,
          save_metadata: true,
          trim_to_audio: true,
          pingpong: false,
          save_output: true,
        },
      },
      "21": { class_type: "PreviewImage", inputs: { images: ["58", 0] } },
    };
  }
  type Graph = Record<string, { class_type: string; inputs: Record<string, unknown> }>;

  /** The graph with other inputs in one node. */
  function changed(id: string, inputs: Record<string, unknown>): Graph {
    const graph: Graph = graphOf();
    Object.assign(graph[id]!.inputs, inputs);
    return graph;
  }

  async function uploadInputs(): Promise<void> {
    await upload("face.png", picture);
    await upload("voice.wav", sound);
  }

  async function submit(graph: Graph, more: { client_id?: string; prompt_id?: unknown } = {}) {
    const answer = await post("/prompt", { prompt: graph, ...more });
    const body: unknown = await answer.json();
    assert.equal(answer.status, 200, JSON.stringify(body));
    return submitted.parse(body);
  }

  async function refusalOf(graph: unknown, more = {}) {
    const answer = await post("/prompt", { prompt: graph, ...more });
    assert.equal(answer.status, 400);
    return refused.parse(await answer.json());
  }

  async function historyOf(id: string) {
    const entries = z.record(z.string(), entry).parse(await (await fetch(`${url}/history/${id}`)).json());
    return entries[id];
  }
  const finished = (id: string) => eventually(`the history has ${id}`, () => historyOf(id));
  const queueNow = async () => queue.parse(await (await fetch(`${url}/queue`)).json());
  const idsOf = (items: z.infer<typeof queueItems>) => items.map(([, id]) => id);
  const renders = () => simulation.journal.renders;
  const fault = (wanted: object) => simulation.faults.add(faultSchema.parse({ service: "comfyui", ...wanted }));

  async function listen(clientId: string): Promise<Event[]> {
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=${clientId}`);
    sockets.push(socket);
    const heard: Event[] = [];
    socket.on("message", (data) => heard.push(event.parse(JSON.parse(String(data)))));
    socket.once("close", () => heard.push({ type: "closed", data: {} }));
    await eventually("the first status", () => heard.length > 0);
    return heard;
  }
  const ended = (heard: Event[]) =>
    eventually("the run ends", () => heard.some(({ type, data }) => type === "executing" && data.node === null));
  const sampling = (heard: Event[]) => eventually("it samples", () => heard.some(({ type }) => type === "progress"));

  /** The video of a run, looked up as a client would. */
  async function videoOf(id: string) {
    return (await finished(id)).outputs["13"]?.gifs?.[0];
  }

  async function download(file: z.infer<typeof video>, headers: Record<string, string> = {}, method = "GET") {
    const { filename, subfolder, type } = file;
    const query = new URLSearchParams({ filename, subfolder, type });
    return await fetch(`${url}/view?${query}`, { method, headers });
  }

  async function probe(bytes: Buffer) {
    const path = join(folder, "probed.mp4");
    await writeFile(path, bytes);
    const fields = "stream=codec_name,pix_fmt,width,height:format=duration";
    const args = ["-v", "error", "-show_entries", fields, "-of", "json", path];
    return z
      .object({
        streams: z.array(z.looseObject({ codec_name: z.string() })),
        format: z.object({ duration: z.string() }),
      })
      .parse(JSON.parse((await promisify(execFile)(ffprobeInstaller.path, args)).stdout));
  }

  it("makes a video that plays, and says so step by step", async () => {
    await uploadInputs();
    const heard = await listen("me");
    const others = await listen("somebody-else");
    const graph = graphOf();
    const { prompt_id: id, node_errors } = await submit(graph, { client_id: "me", prompt_id: randomUUID() });
    assert.deepEqual(node_errors, {});
    await ended(heard);
    const run = await historyOf(id);
    assert.ok(run, "the history had it at the last event");

    const told = heard.map(({ type, data }) => (type === "executing" ? `executing ${data.node}` : type));
    const once = told.filter((type) => !["progress_state", "progress", "status"].includes(type));
    assert.deepEqual(once, [
      "execution_start",
      "execution_cached",
      ...["32", "34", "26", "18", "58", "33", "31", "13"].map((node) => `executing ${node}`),
      "executed",
      "executing 21",
      "executed",
      "execution_success",
      "executing null",
    ]);
    assert.deepEqual(told.slice(-3), ["execution_success", "status", "executing null"]);
    assert.deepEqual(heard[0], { type: "status", data: { status: { exec_info: { queue_remaining: 0 } }, sid: "me" } });
    assert.deepEqual(
      heard.filter(({ type }) => type === "progress").map(({ data }) => data),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((value) => ({ value, max: STEPS, node: "31", prompt_id: id })),
    );
    assert.ok(others.every(({ type }) => type === "status"));

    assert.deepEqual(run.prompt.slice(0, 3), [0, id, graph]);
    assert.deepEqual(run.prompt[3], { client_id: "me" });
    assert.equal(run.status.status_str, "success");
    assert.equal(run.outputs["21"]?.images?.length, 1);
    const made = run.outputs["13"]?.gifs?.[0];
    assert.ok(made);
    assert.equal(made.filename, "Video_test_00001-audio.mp4");
    assert.equal(made.format, "video/h264-mp4");
    assert.equal(made.frame_rate, 24);

    const answer = await download(made);
    assert.equal(answer.headers.get("content-type"), "video/mp4");
    const { streams, format } = await probe(Buffer.from(await answer.arrayBuffer()));
    assert.deepEqual(
      streams.map(({ codec_name }) => codec_name),
      ["h264", "aac"],
    );
    assert.equal(streams[0]!.pix_fmt, "yuv420p");
    assert.deepEqual([streams[0]!.width, streams[0]!.height], [96, 64]);
    assert.ok(Math.abs(Number(format.duration) - SOUND_SECONDS) < 0.2, `${format.duration} s`);

    const [render] = renders();
    assert.equal(render!.id, id);
    assert.equal(render!.kind, "portrait");
    assert.equal(render!.outcome, "success");
    assert.deepEqual(render!.arguments.SONICSampler, { seed: 7, inference_steps: STEPS, dynamic_scale: 1, fps: 24 });
  });

  it("writes the history only after it told of the success", async () => {
    await uploadInputs();
    const heard = await listen("me");
    await eventually("a run that has succeeded is missing in the history", async () => {
      const { prompt_id: id } = await submit(graphOf(), { client_id: "me" });
      const succeeded = (said: Event) => said.type === "execution_success" && said.data.prompt_id === id;
      await eventually("it told of the success", () => heard.some(succeeded));
      return (await historyOf(id)) === undefined;
    });
  });

  it("keeps what it made: the same graph again is cached, another prefix costs no sampling", async () => {
    await uploadInputs();
    const first = await videoOf((await submit(graphOf())).prompt_id);
    const heard = await listen("me");
    const again = await submit(graphOf(), { client_id: "me" });
    assert.deepEqual(await videoOf(again.prompt_id), first);
    const cached = heard.find(({ type }) => type === "execution_cached")!.data.nodes;
    assert.deepEqual([...(cached as string[])].sort(), Object.keys(graphOf()).sort());
    assert.deepEqual(
      renders().map(({ outcome }) => outcome),
      ["success", "success"],
    );

    const other = await submit(changed("13", { filename_prefix: "clips/Other" }), { client_id: "me" });
    const elsewhere = await videoOf(other.prompt_id);
    assert.equal(elsewhere?.filename, "Other_00001-audio.mp4");
    assert.equal(elsewhere?.subfolder, "clips");
    assert.ok(!heard.some(({ type }) => type === "progress"));

    const seeded = await submit(changed("31", { seed: 8 }));
    assert.equal((await videoOf(seeded.prompt_id))?.filename, "Video_test_00002-audio.mp4");
  });

  it("answers 200 to a graph with one bad branch, and succeeds without the video", async () => {
    await uploadInputs();
    const { prompt_id: id, node_errors } = await submit(changed("31", { inference_steps: 0 }));
    const errors = nodeErrors.parse(node_errors);
    assert.deepEqual(Object.keys(errors), ["31"]);
    assert.equal(errors["31"]!.class_type, "SONICSampler");
    assert.deepEqual(errors["31"]!.dependent_outputs, ["13"]);
    assert.equal(errors["31"]!.errors[0]!.type, "value_smaller_than_min");
    const run = await finished(id);
    assert.equal(run.status.status_str, "success");
    assert.deepEqual(Object.keys(run.outputs), ["21"]);
    assert.deepEqual(run.prompt[4], ["21"]);
  });

  it("refuses graphs of which nothing can run", async () => {
    const missing = await refusalOf(graphOf());
    assert.equal(missing.error.type, "prompt_outputs_failed_validation");
    assert.deepEqual(Object.keys(missing.node_errors).sort(), ["18", "26"]);
    assert.equal(missing.node_errors["18"]!.errors[0]!.details, "image - Invalid image file: face.png");
    assert.deepEqual(missing.node_errors["18"]!.dependent_outputs.sort(), ["13", "21"]);

    await uploadInputs();
    const unknown = await refusalOf({ ...graphOf(), "99": { class_type: "NoSuchNode", inputs: {} } });
    assert.equal(unknown.error.type, "invalid_prompt");
    assert.deepEqual(unknown.node_errors, {});
    assert.equal((await refusalOf({ "18": graphOf()["18"] })).error.type, "prompt_no_outputs");
    assert.equal((await refusalOf("no graph")).error.type, "invalid_prompt");
    assert.equal(renders().length, 0);

    const kinds: [Graph, string, string][] = [
      [changed("58", { image: ["77", 0] }), "58", "exception_during_inner_validation"],
      [changed("58", { image: ["18", 5] }), "58", "exception_during_inner_validation"],
      [changed("58", { image: ["58", 0] }), "58", "exception_during_inner_validation"],
      [changed("58", { image: ["26", 0] }), "58", "return_type_mismatch"],
      [changed("58", { image: ["18"] }), "58", "bad_linked_input"],
      [changed("58", { width: "wide" }), "58", "invalid_input_type"],
      [changed("58", { height: 100_000 }), "58", "value_bigger_than_max"],
      [changed("58", { method: "squeeze" }), "58", "value_not_in_list"],
      [changed("58", { image: undefined }), "58", "required_input_missing"],
      [changed("18", { image: "../../../etc/passwd" }), "18", "custom_validation_failed"],
    ];
    for (const [graph, id, type] of kinds) {
      const { node_errors } = await refusalOf(graph);
      assert.equal(node_errors[id]?.errors[0]?.type, type);
    }
  });

  it("treats the caller's prompt_id as each version does", async () => {
    await uploadInputs();
    const [uuid, odd] = [randomUUID(), "MY-JOB"];
    const idFor = async (now: ComfyVersion, wanted: string) => {
      version = now;
      return (await submit(graphOf(), { prompt_id: wanted })).prompt_id;
    };
    assert.notEqual(await idFor("0.3.33", uuid), uuid);
    for (const now of ["0.3.49", "0.3.64"] as const) {
      assert.equal(await idFor(now, uuid), uuid);
      assert.equal(await idFor(now, odd), odd);
    }
    assert.equal(await idFor("latest", uuid), uuid);
    for (const wanted of [odd, uuid.toUpperCase()]) await refusalOf(graphOf(), { prompt_id: wanted });
    await eventually("the same id ran as often as it was sent", () => {
      return renders().filter(({ id, outcome }) => id === uuid && outcome === "success").length === 3;
    });
  });

  for (const now of versions) {
    const respected = now === "0.3.64" || now === "latest";
    it(`${respected ? "respects" : "ignores"} the id of an interrupt in version ${now}`, async () => {
      version = now;
      renderSeconds = 1;
      await uploadInputs();
      const heard = await listen("me");
      const { prompt_id: id } = await submit(graphOf(), { client_id: "me" });
      await sampling(heard);
      assert.equal((await post("/interrupt", { prompt_id: randomUUID() })).status, 200);
      if (respected) {
        await eventually("it goes on", () => heard.filter(({ type }) => type === "progress").length > 1);
        await post("/interrupt", { prompt_id: id });
      }
      const run = await finished(id);
      assert.equal(run.status.status_str, "error");
      assert.equal(run.status.completed, false);
      assert.equal(run.status.messages.at(-1)![0], "execution_interrupted");
      assert.equal(run.status.messages.at(-1)![1].node_type, "SONICSampler");
      assert.equal(renders()[0]!.outcome, "interrupted");
    });
  }

  it("interrupts whatever runs when no id is given, and nothing when nothing runs", async () => {
    await uploadInputs();
    assert.equal((await post("/interrupt")).status, 200);
    renderSeconds = 1;
    const heard = await listen("me");
    const { prompt_id: id } = await submit(graphOf(), { client_id: "me" });
    await sampling(heard);
    await post("/interrupt");
    assert.equal((await finished(id)).status.status_str, "error");
    await ended(heard);
  });

  it("knows jobs only in the latest version", async () => {
    await uploadInputs();
    renderSeconds = 1;
    const heard = await listen("me");
    const running = (await submit(graphOf(), { client_id: "me" })).prompt_id;
    const waiting = (await submit(graphOf())).prompt_id;
    await sampling(heard);
    const job = async (id: string) => {
      const answer = await fetch(`${url}/api/jobs/${id}`);
      return answer.status === 200 ? ((await answer.json()) as { status: string }).status : answer.status;
    };
    const cancel = async (id: string) => {
      const answer = await post(`/api/jobs/${id}/cancel`);
      return answer.status === 200 ? ((await answer.json()) as { cancelled: boolean }).cancelled : answer.status;
    };
    version = "0.3.64";
    assert.deepEqual([await job(running), await cancel(running)], [404, 405]);
    version = "latest";
    assert.deepEqual([await job(running), await job(waiting), await job("other")], ["in_progress", "pending", 404]);
    assert.deepEqual([await cancel(waiting), await cancel(waiting)], [true, false]);
    assert.equal(await cancel(running), true);
    await finished(running);
    assert.deepEqual([await job(running), await job(waiting)], ["cancelled", 404]);
    assert.equal((await post("/cancel")).status, 405);
  });

  it("runs one at a time; what is deleted from the queue vanishes without a trace", async () => {
    await uploadInputs();
    renderSeconds = 2;
    const ids: string[] = [];
    for (const seed of [1, 2, 3]) ids.push((await submit(changed("31", { seed }))).prompt_id);
    const [first, second, third] = ids as [string, string, string];
    const before = await queueNow();
    assert.deepEqual([idsOf(before.queue_running), idsOf(before.queue_pending)], [[first], [second, third]]);
    assert.deepEqual(before.queue_pending[0]![4].sort(), ["13", "21"]);
    assert.equal((await post("/queue", { delete: [first, second, "unknown"] })).status, 200);
    assert.deepEqual(idsOf((await queueNow()).queue_pending), [third]);
    assert.equal(await historyOf(first), undefined);
    renderSeconds = 0;
    await post("/interrupt", { prompt_id: first });
    await finished(first);
    await finished(third);
    assert.equal(await historyOf(second), undefined);
    assert.deepEqual(
      renders().map(({ id }) => id),
      [first, third],
    );
    assert.ok(renders()[1]!.startedAt >= renders()[0]!.finishedAt!);
    const latest = await (await fetch(`${url}/history?max_items=1`)).json();
    assert.deepEqual(Object.keys(latest as object), [third]);

    await submit(changed("31", { seed: 4 }));
    await submit(changed("31", { seed: 5 }));
    await post("/queue", { clear: true });
    assert.deepEqual((await queueNow()).queue_pending, []);
  });

  it("loses history, queue, cache and sockets in a restart, but no file", async () => {
    await uploadInputs();
    const done = (await submit(graphOf())).prompt_id;
    const made = await videoOf(done);
    renderSeconds = 2;
    const heard = await listen("me");
    const running = (await submit(changed("31", { seed: 9 }), { client_id: "me" })).prompt_id;
    await submit(graphOf());
    await sampling(heard);
    comfy.restart();
    await eventually("the socket closes", () => heard.at(-1)!.type === "closed");
    assert.equal(renders().find(({ id }) => id === running)!.outcome, "lost");
    assert.equal(await historyOf(done), undefined);
    assert.deepEqual(await queueNow(), { queue_running: [], queue_pending: [] });
    assert.equal((await download(made!)).status, 200);

    renderSeconds = 0;
    const again = await videoOf((await submit(graphOf())).prompt_id);
    assert.equal(again?.filename, "Video_test_00002-audio.mp4");
    assert.equal(renders().length, 3, "what waited never ran");
  });

  it("tells a client that comes back which node runs, without the prompt", async () => {
    await uploadInputs();
    renderSeconds = 1;
    await submit(graphOf(), { client_id: "me" });
    await sampling(await listen("me"));
    const again = await listen("me");
    await eventually("the node", () => again.length > 1);
    assert.deepEqual(again[1], { type: "executing", data: { node: "31" } });
    await sampling(again);
  });

  it("fails in the sampler, and says more than a user should read", async () => {
    fault({ path: "/run", action: "render_error", times: 1 });
    await uploadInputs();
    const heard = await listen("me");
    const { prompt_id: id } = await submit(graphOf(), { client_id: "me" });
    await ended(heard);
    const failure = heard.find(({ type }) => type === "execution_error")!.data;
    assert.equal(failure.exception_message, "CUDA out of memory\n");
    assert.equal(failure.node_type, "SONICSampler");
    assert.ok("traceback" in failure && "current_inputs" in failure);
    const run = await finished(id);
    assert.equal(run.status.status_str, "error");
    assert.equal(run.status.messages.at(-1)![0], "execution_error");
    assert.equal(renders()[0]!.outcome, "error");
    assert.ok(await videoOf((await submit(graphOf())).prompt_id), "the next run succeeds");
  });

  it("fails where a file is not what it should be", async () => {
    await uploadInputs();
    await upload("noise.mp3", Buffer.from("this is no sound"));
    const run = await finished((await submit(changed("26", { audio: "noise.mp3" }))).prompt_id);
    assert.equal(run.status.messages.at(-1)![1].node_type, "LoadAudio");
  });

  it("ends the stream after the start when a fault says so, and runs on", async () => {
    fault({ path: "/ws", action: "end_stream_early", times: 1 });
    await uploadInputs();
    const heard = await listen("me");
    const { prompt_id: id } = await submit(graphOf(), { client_id: "me" });
    await eventually("the socket closes", () => heard.at(-1)!.type === "closed");
    assert.equal(heard.at(-2)!.type, "execution_start");
    assert.ok(await videoOf(id));
  });

  it("stops for good when the node goes down", async () => {
    await uploadInputs();
    renderSeconds = 2;
    const heard = await listen("me");
    await submit(graphOf(), { client_id: "me" });
    await sampling(heard);
    comfy.shutDown();
    await eventually("the socket closes", () => heard.at(-1)!.type === "closed");
    assert.equal(renders()[0]!.outcome, "lost");
    await submit(graphOf());
    assert.equal(renders().length, 1);
  });

  it("serves ranges of a file, and nothing outside of its folders", async () => {
    await upload("face.png", picture);
    const file = { filename: "face.png", subfolder: "", type: "input", format: "" };
    const part = async (range: string) => {
      const answer = await download(file, { range });
      return { status: answer.status, range: answer.headers.get("content-range"), body: await answer.arrayBuffer() };
    };
    const { length } = picture;
    const middle = await part("bytes=10-19");
    assert.deepEqual([middle.status, middle.range], [206, `bytes 10-19/${length}`]);
    assert.deepEqual(Buffer.from(middle.body), picture.subarray(10, 20));
    assert.deepEqual(Buffer.from((await part("bytes=50-")).body), picture.subarray(50));
    assert.deepEqual(Buffer.from((await part("bytes=-7")).body), picture.subarray(length - 7));
    for (const range of [`bytes=${length}-`, "bytes=9-3", "bytes=-", "lines=1-2"]) {
      const outside = await part(range);
      assert.deepEqual([outside.status, outside.range], [416, `bytes */${length}`]);
    }
    const head = await download(file, {}, "HEAD");
    assert.deepEqual([head.status, head.headers.get("content-length")], [200, String(length)]);
    assert.equal((await head.arrayBuffer()).byteLength, 0);
    const statusOf = async (wanted: Partial<typeof file>) => (await download({ ...file, ...wanted })).status;
    assert.equal(await statusOf({ filename: "other.png" }), 404);
    assert.equal(await statusOf({ filename: "../input/face.png" }), 400);
    assert.equal(await statusOf({ subfolder: "../../.." }), 403);
    assert.equal(await statusOf({ type: "models" }), 400);
  });

  it("names uploads so that none is overwritten", async () => {
    const nameOf = async (bytes: string, name = "voice.mp3", fields = {}) =>
      (await upload(name, Buffer.from(bytes), fields)).json();
    assert.deepEqual(await nameOf("one"), { name: "voice.mp3", subfolder: "", type: "input" });
    assert.deepEqual(await nameOf("one"), { name: "voice.mp3", subfolder: "", type: "input" });
    const both = (await Promise.all([nameOf("two"), nameOf("three")])) as { name: string }[];
    assert.deepEqual(both.map(({ name }) => name).sort(), ["voice (1).mp3", "voice (2).mp3"]);
    const below = { name: "voice.mp3", subfolder: "a/b", type: "input" };
    assert.deepEqual(await nameOf("four", "voice.mp3", { subfolder: "a/b" }), below);
    assert.equal((await upload("voice.mp3", Buffer.from("x"), { subfolder: "../.." })).status, 400);
    const nothing = new FormData();
    nothing.set("other", "field");
    assert.equal((await fetch(`${url}/upload/image`, { method: "POST", body: nothing })).status, 400);
  });

  it("refuses uploads over 100 MiB", async () => {
    const headers = { "content-type": "multipart/form-data; boundary=x", "content-length": 101 * 1024 * 1024 };
    const big = request(`${url}/upload/image`, { method: "POST", headers });
    big.on("error", () => undefined);
    big.flushHeaders();
    const [answer] = await once(big, "response");
    assert.equal(answer.statusCode, 413);
    big.destroy();
  });

  it("says which version it is, and refuses the pages of other hosts", async () => {
    version = "0.3.49";
    const stats = async () =>
      z
        .object({ system: z.looseObject({ comfyui_version: z.string() }), devices: z.array(z.unknown()) })
        .parse(await (await fetch(`${url}/system_stats`)).json());
    assert.equal((await stats()).system.comfyui_version, "0.3.49");
    version = "latest";
    assert.equal((await stats()).system.comfyui_version, "0.9.0");
    const from = async (origin: string) => (await fetch(`${url}/system_stats`, { headers: { origin } })).status;
    assert.equal(await from("https://api.comput3.ai"), 403);
    assert.equal(await from(new URL(url).origin), 200);
  });
});
