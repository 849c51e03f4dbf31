import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { type IncomingMessage, request } from "node:http";
import { z } from "zod";
import type { GradioVersion } from "../../../src/simulator/gradio/app.ts";
import { type Simulator, startSimulator } from "../../../src/simulator/simulator.ts";
import { eventually } from "../../support/eventually.ts";

const message = z.looseObject({ msg: z.string() });
type Message = z.infer<typeof message>;
const file = z.object({ path: z.string(), url: z.string(), size: z.number().nullable(), mime_type: z.null() });

const monologue = (overrides: Record<string, unknown> = {}) =>
  Object.values({
    speaker_voice: "conversational_a",
    speaker_text: "",
    speaker_audio: null,
    monologue_json: '["Hello there."]',
    temperature: 0.9,
    topk: 50,
    max_audio_length: 10_000,
    pause_duration: 150,
    ...overrides,
  });

/** Compared with real servers as they ran: 4.44.1, 5.50.0 and 6.31.0. */
describe("the simulated Gradio server", () => {
  const headers = { "X-C3-API-KEY": "simulator", "Content-Type": "application/json" };
  let simulator: Simulator;
  let node: string;

  before(async () => {
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
  });
  beforeEach(async () => {
    simulator.clearFaults();
    Object.assign(simulator.settings, { renderSeconds: undefined, gradioVersion: "6.31", gradioQueueSize: undefined });
    const body = JSON.stringify({ type: "media:fast", expires: Math.floor(Date.now() / 1000) + 600 });
    const launched = await (await fetch(`${simulator.comput3Url}/launch`, { method: "POST", headers, body })).json();
    node = `${simulator.url}/nodes/${(launched as { node: string }).node}`;
  });
  after(() => simulator.close());

  const api = (app: "csm" | "whisper" = "csm") =>
    `${node}/${app}${simulator.settings.gradioVersion === "4.44" ? "" : "/gradio_api"}`;

  async function join(data: unknown[], session: string = randomUUID(), app?: "whisper") {
    const body = JSON.stringify({ data, fn_index: 0, session_hash: session });
    const answer = await fetch(`${api(app)}/queue/join?`, { method: "POST", headers, body });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown>, session };
  }

  /** Everything that is said of a call, until its stream ends. */
  async function said(data: unknown[], app?: "whisper"): Promise<Message[]> {
    const { session } = await join(data, undefined, app);
    const stream = await fetch(`${api(app)}/queue/data?session_hash=${session}`, { headers });
    const frames = (await stream.text()).split("\n\n").filter((frame) => frame !== "");
    return frames.map((frame) => message.parse(JSON.parse(frame.slice("data: ".length))));
  }
  const completed = async (data: unknown[], app?: "whisper") =>
    (await said(data, app)).find(({ msg }) => msg === "process_completed")?.output as Record<string, unknown>;

  /** Unlike `fetch`, leaves the bytes as they come. */
  async function raw(url: string, more: Record<string, string> = {}) {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      request(url, { headers: { "X-C3-API-KEY": "simulator", ...more } }, resolve)
        .on("error", reject)
        .end();
    });
    const parts: Buffer[] = await answer.toArray();
    return { status: answer.statusCode, headers: answer.headers, bytes: Buffer.concat(parts) };
  }

  async function transcript() {
    const form = new FormData();
    const voice = await (await fetch(`${simulator.url}/sim/files/voice.wav`)).blob();
    form.append("files", voice, "voice.wav");
    const upload = { method: "POST", headers: { "X-C3-API-KEY": "simulator" }, body: form };
    const [path] = (await (await fetch(`${api("whisper")}/upload`, upload)).json()) as string[];
    const options = ["medium", "transcribe", "en", "cuda", 0, 8, "float16", "", false];
    const { data } = await completed([{ path }, ...options], "whisper");
    return z.array(file).parse((data as unknown[])[1]);
  }

  it("holds a heartbeat open for every session, as its configuration asks for", async () => {
    const config = (await (await fetch(`${node}/csm/config`, { headers })).json()) as Record<string, unknown>;
    assert.equal(config.connect_heartbeat, true);
    const controller = new AbortController();
    const beat = await fetch(`${api()}/heartbeat/${randomUUID()}`, { headers, signal: controller.signal });
    assert.match(beat.headers.get("content-type") ?? "", /^text\/event-stream/);
    const { value } = await beat.body!.getReader().read();
    assert.equal(Buffer.from(value!).toString(), "data: ALIVE\n\n");
    controller.abort();
  });

  it("compresses text of 400 bytes and more, and announces the bytes that it sends", async () => {
    const files = await transcript();
    const json = files.find(({ path }) => path.endsWith(".json"))!;
    const url = `${api("whisper")}/file=${json.path}`;
    const plain = await raw(url, { "accept-encoding": "identity" });
    assert.deepEqual([plain.headers["content-encoding"], plain.bytes.length], [undefined, json.size]);
    for (const [accepted, encoding] of [
      ["gzip, deflate, br", "br"],
      ["gzip", "gzip"],
    ] as const) {
      const { headers: got, bytes } = await raw(url, { "accept-encoding": accepted });
      assert.equal(got["content-encoding"], encoding);
      assert.equal(got["content-length"], String(bytes.length));
    }
    const decoded = await fetch(url, { headers });
    assert.equal(await decoded.text(), plain.bytes.toString());
  });

  it("serves nothing but what it made or was given, and parts of it", async () => {
    const { data } = await completed(monologue());
    const [sound] = z.tuple([file]).parse(data);
    assert.equal(sound.size, null);
    const part = await raw(`${api()}/file=${sound.path}`, { range: "bytes=0-9" });
    assert.deepEqual([part.status, part.bytes.length], [206, 10]);
    assert.match(part.headers["content-range"] ?? "", /^bytes 0-9\/\d+$/);
    assert.equal((await raw(`${api()}/file=${sound.path}`, { range: "bytes=99999999-" })).status, 416);
    for (const path of ["/etc/passwd", `${sound.path}x`, "/nowhere/at/all"]) {
      const refused = await raw(`${api()}/file=${path}`);
      assert.equal(refused.status, 403);
      assert.deepEqual(JSON.parse(refused.bytes.toString()), { detail: `File not allowed: ${path}.` });
    }
  });

  it("refuses calls beyond the size of its queue", async () => {
    Object.assign(simulator.settings, { gradioQueueSize: 1, renderSeconds: 1 });
    const [runs, waits, refused] = [await join(monologue()), await join(monologue()), await join(monologue())];
    assert.deepEqual([runs.status, waits.status, refused.status], [200, 200, 503]);
    assert.deepEqual(refused.body, { detail: "Queue is full. Max size is 1 and size is 1." });
  });

  it("says something free before it cuts a stream, if it is to", async () => {
    simulator.fault({ service: "csm", action: "unexpected_error", times: 1 });
    const messages = await said(monologue());
    assert.deepEqual(
      messages.map(({ msg }) => msg),
      ["estimation", "process_starts", "unexpected_error"],
    );
    assert.equal(typeof messages.at(-1)?.message, "string");
  });

  for (const version of ["4.44", "5.50", "6.31"] satisfies GradioVersion[]) {
    describe(`of version ${version}`, () => {
      const old = version === "4.44";
      beforeEach(() => {
        simulator.settings.gradioVersion = version;
      });

      it("has its calls where they are in that version, and nowhere else", async () => {
        const config = (await (await fetch(`${node}/csm/config`, { headers })).json()) as Record<string, unknown>;
        assert.equal(config.api_prefix, old ? undefined : "/gradio_api");
        assert.ok(String(config.version).startsWith(version));
        const status = async (path: string) => (await fetch(`${node}/csm${path}`, { headers })).status;
        assert.deepEqual([await status("/info"), await status("/gradio_api/info")], old ? [200, 404] : [404, 200]);
        assert.equal((await fetch(`${node}/csm/config`)).status, 401);
      });

      it("announces a file where it can be had", async () => {
        const [sound] = z.tuple([file]).parse((await completed(monologue())).data);
        assert.equal(sound.url, `${api()}/file=${sound.path}`);
        assert.equal((await fetch(sound.url, { headers })).status, 200);
      });

      it("compresses text, if it does, and tells what is missing from what is not served", async () => {
        const json = (await transcript()).find(({ path }) => path.endsWith(".json"))!;
        const { headers: got } = await raw(`${api("whisper")}/file=${json.path}`, { "accept-encoding": "gzip" });
        assert.equal(got["content-encoding"], old ? undefined : "gzip");
        assert.equal((await raw(`${api("whisper")}/file=${json.path}x`)).status, old ? 404 : 403);
        assert.equal((await raw(`${api("whisper")}/file=/etc/passwd`)).status, 403);
        await rm(json.path);
        assert.equal((await raw(`${api("whisper")}/file=${json.path}`)).status, 404);
      });

      it("starts a call before it looks at the ranges, if it does", async () => {
        const messages = await said(monologue({ temperature: 3 }));
        assert.deepEqual(
          messages.map(({ msg }) => msg).filter((msg) => msg !== "progress"),
          ["estimation", "process_starts", "process_completed", "close_stream"],
        );
        const output = messages.find(({ msg }) => msg === "process_completed")?.output as Record<string, unknown>;
        assert.equal(output.error, old ? undefined : "Value 3 is greater than maximum value 2.0.");
      });

      it(`${version === "5.50" ? "runs" : "drops"} a waiting call that is cancelled, and says that it is over`, async () => {
        simulator.settings.renderSeconds = 0.3;
        await join(monologue());
        const { body, session } = await join(monologue({ monologue_json: '["Cancelled."]' }));
        const cancel = JSON.stringify({ event_id: body.event_id, session_hash: session, fn_index: 0 });
        await fetch(`${api()}/cancel`, { method: "POST", headers, body: cancel });
        const stream = await fetch(`${api()}/queue/data?session_hash=${session}`, { headers });
        assert.match(await stream.text(), /"msg":"process_completed".*"output":\{\}/);
        await said(monologue({ monologue_json: '["The next one."]' }));
        const spoken = simulator.renders().filter((render) => node.endsWith(render.node));
        const ran = spoken.some(({ arguments: args }) => args.monologue_json === '["Cancelled."]');
        assert.equal(ran, version === "5.50");
      });

      it("tells what the app means to tell, and hides the rest", async () => {
        simulator.fault({ service: "csm", action: "render_error", times: 1 });
        const { error } = await completed(monologue());
        const told = "Generation failed: a fault of the simulator";
        assert.equal(error, old ? `'${told}'` : told);
      });
    });
  }

  it("forgets streams and heartbeats when it restarts", async () => {
    const open = await fetch(`${api()}/heartbeat/${randomUUID()}`, { headers });
    const ended = open.text().then(
      () => true,
      () => true,
    );
    simulator.fault({ service: "csm", action: "restart_app" });
    await eventually("the heartbeat ends", () => ended);
  });
});
