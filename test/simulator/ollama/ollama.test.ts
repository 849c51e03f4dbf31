import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import sharp from "sharp";
import { z } from "zod";
import { createFaults, faultSchema } from "../../../src/simulator/control/faults.ts";
import { faulty } from "../../../src/simulator/control/httpFaults.ts";
import { createJournal } from "../../../src/simulator/control/journal.ts";
import { createWorld } from "../../../src/simulator/control/world.ts";
import type { Simulation, SimulatorEnv } from "../../../src/simulator/env.ts";
import { createOllamaServer } from "../../../src/simulator/ollama/ollama.ts";
import { eventually } from "../../support/eventually.ts";

const MODEL = "llama3.2-vision:11b";
const line = z.looseObject({ response: z.string().optional(), done: z.boolean().optional() });
type Line = z.infer<typeof line>;

describe("the simulated Ollama server", () => {
  let simulation: Simulation;
  let ollama: ReturnType<typeof createOllamaServer>;
  let server: Server;
  let url: string;
  let picture: string;
  let renderSeconds: number | undefined;
  let arrived: number;
  let left: number;

  before(async () => {
    const red = { width: 320, height: 480, channels: 3 as const, background: "#e01010" };
    const stripe = await sharp({ create: red }).png().toBuffer();
    const white = { width: 640, height: 480, channels: 3 as const, background: "white" };
    const made = await sharp({ create: white })
      .composite([{ input: stripe, left: 0, top: 0 }])
      .jpeg()
      .toBuffer();
    picture = made.toString("base64");
  });

  beforeEach(async () => {
    renderSeconds = undefined;
    arrived = 0;
    left = 0;
    simulation = {
      world: createWorld({ launchSeconds: 0, ratePerHour: 1 }),
      faults: createFaults(),
      journal: createJournal(),
      apiKey: "simulator",
      url: () => url,
    };
    ollama = createOllamaServer({
      simulation,
      node: "node-1",
      models: () => [MODEL],
      speed: () => 0,
      renderSeconds: () => renderSeconds,
    });
    const app = new Hono<SimulatorEnv>();
    app.use("/*", async (c, next) => {
      arrived += 1;
      c.env.outgoing.once("close", () => {
        left += 1;
      });
      await next();
    });
    app.use("/*", faulty(simulation, "ollama"));
    app.route("/", ollama.routes);
    server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterEach(async () => {
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
    simulation.world.shutDown();
  });

  const post = (path: string, body: object, signal?: AbortSignal) =>
    fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body), ...(signal && { signal }) });
  const generate = (body: object = {}, signal?: AbortSignal) =>
    post("/api/generate", { model: MODEL, prompt: "What is there?", images: [picture], ...body }, signal);
  const fault = (wanted: object) => simulation.faults.add(faultSchema.parse({ service: "ollama", ...wanted }));
  const renders = () => simulation.journal.renders;
  const linesOf = async (response: Response): Promise<Line[]> =>
    (await response.text()).split("\n").flatMap((text) => (text === "" ? [] : [line.parse(JSON.parse(text))]));
  const textOf = (lines: Line[]) => lines.map(({ response = "" }) => response).join("");
  /** An answer of which the first piece has come; the rest comes when it is read. */
  async function begun(signal?: AbortSignal) {
    const reader = (await generate({}, signal)).body!.getReader();
    await reader.read();
    return reader;
  }

  const SEEN = '[simulated] You asked: "What is there?". A JPEG picture of 640 × 480 pixels, mostly red and white.';

  it("describes the picture word by word", async () => {
    const response = await generate();
    assert.equal(response.headers.get("content-type"), "application/x-ndjson");
    const lines = await linesOf(response);
    assert.ok(lines.length > 10);
    assert.ok([SEEN, SEEN.replace("red and white", "white and red")].includes(textOf(lines)), textOf(lines));
    const last = lines.pop()!;
    assert.ok(lines.every(({ done, model, created_at }) => done === false && model === MODEL && created_at));
    assert.equal(last.done_reason, "stop");
    assert.equal(last.eval_count, lines.length);
    assert.ok(Number(last.total_duration) > 0);
    const [render] = renders();
    const bytes = Buffer.from(picture, "base64").length;
    assert.deepEqual(render!.arguments.images, [{ format: "jpeg", width: 640, height: 480, bytes }]);
    assert.equal(render!.outcome, "success");
    assert.equal(render!.kind, "analyze");
  });

  it("answers in one piece when asked to", async () => {
    const answer = line.parse(await (await generate({ stream: false })).json());
    assert.match(answer.response!, /^\[simulated\] You asked: "What is there\?"\. A JPEG picture/);
    assert.equal(answer.done, true);
  });

  it("sees grey and transparent pictures, and shortens a long prompt", async () => {
    const create = { width: 30, height: 20, channels: 4 as const, background: { r: 0, g: 0, b: 0, alpha: 0 } };
    const clear = (await sharp({ create }).webp().toBuffer()).toString("base64");
    const grey = { width: 3, height: 1, channels: 3 as const, background: "#808080" };
    const dull = (await sharp({ create: grey }).greyscale().png().toBuffer()).toString("base64");
    const prompt = `Look \n ${"closely ".repeat(40)}`;
    const answer = line.parse(await (await generate({ prompt, images: [clear, dull], stream: false })).json());
    assert.match(answer.response!, /A WEBP picture of 30 × 20 pixels, mostly white\./);
    assert.match(answer.response!, /A PNG picture of 3 × 1 pixels, mostly grey\.$/);
    assert.match(answer.response!, /You asked: "Look closely [a-z ]{1,90}…"\./);
  });

  it("refuses what it does not know and what it cannot read", async () => {
    const missing = await generate({ model: "llava" });
    assert.equal(missing.status, 404);
    assert.deepEqual(await missing.json(), { error: 'model "llava" not found, try pulling it first' });
    const spoilt = await generate({ images: [Buffer.from("no picture").toString("base64")] });
    assert.equal(spoilt.status, 500);
    assert.deepEqual(await spoilt.json(), { error: "Failed to load image or audio file" });
    assert.equal((await generate({ images: [`data:image/jpeg;base64,${picture}`] })).status, 400);
    assert.deepEqual(
      renders().map(({ outcome }) => outcome),
      ["error"],
    );
  });

  it("installs what is pulled", async () => {
    const lines = await linesOf(await post("/api/pull", { model: "llava" }));
    assert.equal(lines[0]!.status, "pulling manifest");
    const loading = lines.filter(({ total }) => total !== undefined);
    assert.ok(loading.length > 2 && loading.at(-1)!.completed === loading.at(-1)!.total);
    assert.equal(lines.at(-1)!.status, "success");
    ollama.restart();
    const tags = z.object({ models: z.array(z.object({ name: z.string() })) });
    const { models } = tags.parse(await (await fetch(`${url}/api/tags`)).json());
    assert.deepEqual(
      models.map(({ name }) => name),
      [MODEL, "llava:latest"],
    );
    assert.equal((await generate({ model: "llava" })).status, 200);
    assert.deepEqual(await (await post("/api/pull", { model: "llava", stream: false })).json(), { status: "success" });
  });

  it("cannot pull what there is not", async () => {
    const lines = await linesOf(await post("/api/pull", { model: "missing/such" }));
    assert.deepEqual(lines, [{ status: "pulling manifest" }, { error: "pull model manifest: file does not exist" }]);
    assert.equal((await post("/api/pull", { model: "missing/such", stream: false })).status, 500);
    assert.equal((await generate({ model: "missing/such" })).status, 404);
  });

  it("says what it is", async () => {
    assert.equal(await (await fetch(url)).text(), "Ollama is running");
    assert.match(await (await fetch(`${url}/api/version`)).text(), /"version"/);
  });

  it("generates one at a time, and takes the time it is told to", async () => {
    renderSeconds = 0.3;
    const startedAt = performance.now();
    await Promise.all([1, 2, 3].map(async () => (await generate()).text()));
    assert.ok(performance.now() - startedAt >= 850);
    const [one, two, three] = renders();
    assert.ok(one!.finishedAt! <= two!.startedAt && two!.finishedAt! <= three!.startedAt);
  });

  it("stops when its caller goes, and lets the next one in", async () => {
    renderSeconds = 5;
    const [running, waiting] = [new AbortController(), new AbortController()];
    await begun(running.signal);
    const given = assert.rejects(generate({}, waiting.signal));
    await eventually("the second waits", () => arrived === 2);
    const next = generate();
    await eventually("the third waits", () => arrived === 3);
    waiting.abort();
    await given;
    await eventually("the second has left", () => left === 1);
    renderSeconds = 0;
    running.abort();
    assert.equal((await linesOf(await next)).at(-1)!.done, true);
    assert.deepEqual(
      renders().map(({ outcome }) => outcome),
      ["interrupted", "success"],
    );
    assert.ok(renders()[0]!.finishedAt);
  });

  it("stops when the caller of an unstreamed answer goes", async () => {
    renderSeconds = 60;
    const controller = new AbortController();
    const answer = generate({ stream: false }, controller.signal);
    await eventually("it runs", () => renders().length === 1);
    controller.abort();
    await assert.rejects(answer);
    await eventually("it has stopped", () => renders()[0]!.outcome === "interrupted");
  });

  it("loses what runs and what waits when it restarts", async () => {
    renderSeconds = 5;
    const reader = await begun();
    const waiting = assert.rejects(generate());
    await eventually("the second waits", () => arrived === 2);
    ollama.restart();
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    });
    await waiting;
    assert.equal(renders()[0]!.outcome, "lost");
    renderSeconds = 0;
    assert.equal((await linesOf(await generate())).at(-1)!.done, true);
    assert.equal(renders().length, 2);
  });

  it("fails in the middle of an answer", async () => {
    fault({ action: "render_error", path: "/run", times: 2 });
    const lines = await linesOf(await generate());
    assert.ok(lines.length > 3 && lines[0]!.response);
    assert.match(String(lines.at(-1)!.error), /fault of the simulator/);
    assert.equal((await generate({ stream: false })).status, 500);
    assert.deepEqual(
      renders().map(({ outcome }) => outcome),
      ["error", "error"],
    );
    assert.equal((await linesOf(await generate())).at(-1)!.done, true);
  });

  it("ends an answer early", async () => {
    fault({ action: "end_stream_early", path: "/api/generate", times: 1 });
    const lines = await linesOf(await generate());
    assert.ok(lines.length > 3 && lines.every(({ done }) => done === false));
    assert.equal(renders()[0]!.outcome, "lost");
  });

  it("does the work of an answer that is dropped", async () => {
    fault({ action: "drop_reply", times: 1 });
    await assert.rejects(generate());
    assert.equal(renders()[0]!.outcome, "success");
  });
});
