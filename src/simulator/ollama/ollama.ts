import { createHash, randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import sharp from "sharp";
import { z } from "zod";
import type { FaultTarget } from "../control/faults.ts";
import type { Render } from "../control/journal.ts";
import type { Pace } from "../control/timing.ts";
import type { Simulation, SimulatorEnv } from "../env.ts";

export interface OllamaOptions extends Pace {
  simulation: Simulation;
  node: string;
  /** What is installed from the start; a pull adds to it. */
  models: () => string[];
  /** Before the first token of an answer, and so before the first header: a model that has to be loaded. */
  silentSeconds?: () => number;
}

type Outcome = NonNullable<Render["outcome"]>;

/** A picture as it arrived, as the journal keeps it. */
interface Picture {
  format: string;
  width: number;
  height: number;
  bytes: number;
}

/** An answer that is being generated. */
interface Answer {
  request: z.infer<typeof generateBody>;
  text: string;
  startedAt: number;
  /** Its caller has gone. */
  signal: AbortSignal;
  finish: (outcome: Outcome) => void;
}

interface Line {
  response?: string;
  error?: string;
  [field: string]: unknown;
}

const ANSWER_SECONDS = 2;
const PULL_SECONDS = 1;
const PULL_STEPS = 4;
const MODEL_BYTES = 7_816_589_186;
const SHORT_PROMPT = 80;
const base64 = z.string().refine((text) => /^[A-Za-z0-9+/\r\n]*={0,2}$/.test(text));
const generateBody = z.object({
  model: z.string().min(1),
  prompt: z.string().default(""),
  images: z.array(base64).default([]),
  stream: z.boolean().default(true),
  options: z.record(z.string(), z.unknown()).optional(),
});
const pullBody = z.object({ model: z.string().min(1), stream: z.boolean().default(true) });

/** One Ollama server on one node: one answer at a time, others wait; it describes the pictures that it really decoded. */
export function createOllamaServer(options: OllamaOptions) {
  const { simulation, node } = options;
  const { faults, journal } = simulation;
  const target = (path: string): FaultTarget => ({ service: "ollama", path, node });
  const pulled = new Set<string>();
  const connections = new Set<ServerResponse>();
  let lastInLine: Promise<void> = Promise.resolve();
  let running: Render | undefined;

  const installed = () => [...new Set([...options.models().map(tagged), ...pulled])];

  /** Aborts when the caller has gone, or when the server goes down. */
  function callerOf(c: Context<SimulatorEnv>): AbortSignal {
    const { outgoing } = c.env;
    const gone = new AbortController();
    if (outgoing.destroyed) gone.abort();
    connections.add(outgoing);
    outgoing.once("close", () => {
      connections.delete(outgoing);
      gone.abort();
    });
    return gone.signal;
  }

  /** Waits for the model; the result lets the next one have it. */
  async function takeTurn(): Promise<() => void> {
    const before = lastInLine;
    let leave = () => {};
    lastInLine = new Promise((resolve) => {
      leave = resolve;
    });
    await before;
    return leave;
  }

  async function generate(c: Context<SimulatorEnv>): Promise<Response> {
    const signal = callerOf(c);
    const body = generateBody.safeParse(await c.req.json().catch(() => undefined));
    if (!body.success) return c.json({ error: complaintOf(body.error) }, 400);
    const request = body.data;
    if (!installed().includes(tagged(request.model))) {
      return c.json({ error: `model "${request.model}" not found, try pulling it first` }, 404);
    }
    const leave = await takeTurn();
    if (signal.aborted) {
      leave();
      return RESPONSE_ALREADY_SENT;
    }
    const startedAt = performance.now();
    const render = begin(request);
    const finish = (outcome: Outcome) => {
      // A server that went down in the meantime has said so.
      if (render.outcome === undefined) Object.assign(render, { finishedAt: Date.now(), outcome });
      running = undefined;
      leave();
    };
    const text = await describe(request, render).catch(() => undefined);
    if (text === undefined) {
      finish("error");
      return c.json({ error: "Failed to load image or audio file" }, 500);
    }
    const lines = speak({ request, text, startedAt, signal, finish });
    await delay(1000 * (options.silentSeconds?.() ?? 0), undefined, { signal, ref: false }).catch(() => undefined);
    return request.stream ? await streamed(c, lines) : await whole(c, lines, signal);
  }

  function begin({ model, prompt, images, stream, options: settings }: Answer["request"]): Render {
    const sizes = images.map((image) => ({ bytes: Buffer.from(image, "base64").length }));
    const args = { model, prompt, images: sizes, stream, options: settings };
    running = journal.render({ id: randomUUID(), node, kind: "analyze", startedAt: Date.now(), arguments: args });
    return running;
  }

  /** @throws when a picture cannot be decoded */
  async function describe({ prompt, images }: Answer["request"], render: Render): Promise<string> {
    const seen = await Promise.all(images.map((image) => look(Buffer.from(image, "base64"))));
    render.arguments.images = seen.map(({ picture }) => picture);
    const sentences = seen.map(({ sentence }) => sentence);
    if (sentences.length === 0) sentences.push("There is no picture.");
    return [`[simulated] You asked: "${short(prompt)}".`, ...sentences].join(" ");
  }

  /** The lines of a streamed answer. */
  async function* speak({ request, text, startedAt, signal, finish }: Answer): AsyncGenerator<Line> {
    const { model, prompt } = request;
    const words = text.match(/\s*\S+/g) ?? [];
    const pause = ((options.renderSeconds() ?? ANSWER_SECONDS * options.speed()) * 1000) / words.length;
    const error = faults.take(target("/run"), ["render_error"]) !== undefined;
    const cut = faults.take(target("/api/generate"), ["end_stream_early"]) !== undefined;
    const stamp = () => ({ model, created_at: new Date().toISOString() });
    let outcome: Outcome = "interrupted";
    try {
      for (const [index, response] of words.entries()) {
        if (pause > 0) await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
        if (signal.aborted) return;
        if ((error || cut) && index === Math.ceil(words.length / 2)) {
          outcome = error ? "error" : "lost";
          if (error) yield { error: "an error was encountered while running the model: a fault of the simulator" };
          return;
        }
        yield { ...stamp(), response, done: false };
      }
      outcome = "success";
      yield { ...stamp(), response: "", done: true, done_reason: "stop", ...counters(prompt, words.length, startedAt) };
    } finally {
      finish(outcome);
    }
  }

  /** The same lines as one object; an answer that is cut off says so by its `done`. */
  async function whole(c: Context<SimulatorEnv>, lines: AsyncIterable<Line>, signal: AbortSignal) {
    let response = "";
    let last: Line = {};
    for await (const line of lines) {
      response += line.response ?? "";
      last = line;
    }
    if (signal.aborted) return RESPONSE_ALREADY_SENT;
    if (last.error !== undefined) return c.json({ error: last.error }, 500);
    return c.json(last.response === undefined ? last : { ...last, response });
  }

  async function pull(c: Context<SimulatorEnv>): Promise<Response> {
    const body = pullBody.safeParse(await c.req.json().catch(() => undefined));
    if (!body.success) return c.json({ error: complaintOf(body.error) }, 400);
    const signal = callerOf(c);
    const lines = download(body.data.model, signal);
    return body.data.stream ? await streamed(c, lines) : await whole(c, lines, signal);
  }

  async function* download(model: string, signal: AbortSignal) {
    yield { status: "pulling manifest" };
    if (model.startsWith("missing")) {
      yield { error: "pull model manifest: file does not exist" };
      return;
    }
    const digest = digestOf(model);
    for (let step = 0; step <= PULL_STEPS; step += 1) {
      const pause = (PULL_SECONDS * 1000 * options.speed()) / PULL_STEPS;
      if (pause > 0) await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const completed = Math.floor((MODEL_BYTES * step) / PULL_STEPS);
      yield { status: `pulling ${digest.slice(7, 19)}`, digest, total: MODEL_BYTES, completed };
    }
    yield { status: "verifying sha256 digest" };
    yield { status: "writing manifest" };
    pulled.add(tagged(model));
    yield { status: "success" };
  }

  function stop(): void {
    if (running !== undefined) Object.assign(running, { finishedAt: Date.now(), outcome: "lost" });
    for (const outgoing of connections) outgoing.destroy();
  }

  const routes = new Hono<SimulatorEnv>();
  routes.get("/", (c) => c.text("Ollama is running"));
  routes.get("/api/version", (c) => c.json({ version: "0.12.6" }));
  routes.get("/api/tags", (c) => c.json({ models: installed().map(modelEntry) }));
  routes.post("/api/generate", generate);
  routes.post("/api/pull", pull);

  return {
    routes,
    /** The server restarts: what runs and what waits is lost, what was pulled stays. */
    restart: stop,
    shutDown: stop,
  };
}

/** A name without a tag means the latest. */
function tagged(model: string): string {
  return model.includes(":") ? model : `${model}:latest`;
}

function digestOf(model: string): string {
  return `sha256:${createHash("sha256").update(tagged(model)).digest("hex")}`;
}

function modelEntry(name: string) {
  const details = {
    parent_model: "",
    format: "gguf",
    family: "mllama",
    families: ["mllama"],
    parameter_size: "10.7B",
    quantization_level: "Q4_K_M",
  };
  const digest = digestOf(name).slice("sha256:".length);
  return { name, model: name, modified_at: "2025-01-01T00:00:00Z", size: MODEL_BYTES, digest, details };
}

function complaintOf(error: z.ZodError): string {
  const inImages = error.issues.some(({ path }) => path[0] === "images");
  return inImages ? "illegal base64 data at input byte 0" : "invalid request";
}

/** Durations are nanoseconds, as Go counts them. */
function counters(prompt: string, words: number, startedAt: number) {
  const nanoseconds = Math.round((performance.now() - startedAt) * 1e6);
  return {
    total_duration: nanoseconds,
    load_duration: 0,
    prompt_eval_count: prompt.split(/\s+/).filter(Boolean).length,
    prompt_eval_duration: 0,
    eval_count: words,
    eval_duration: nanoseconds,
  };
}

function short(prompt: string): string {
  const line = prompt.replace(/\s+/g, " ").trim();
  return line.length > SHORT_PROMPT ? `${line.slice(0, SHORT_PROMPT)}…` : line;
}

/**
 * As in the real server, no header is sent before the first line. Goes on whether or not anybody reads, so that its lines
 * always come to their end.
 */
async function streamed(c: Context<SimulatorEnv>, lines: AsyncGenerator<object>): Promise<Response> {
  let next = await lines.next();
  let reading = true;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const pump = async () => {
        for (; !next.done; next = await lines.next()) {
          if (reading) controller.enqueue(Buffer.from(`${JSON.stringify(next.value)}\n`));
        }
        if (reading) controller.close();
      };
      void pump();
    },
    cancel() {
      reading = false;
    },
  });
  return c.body(body, 200, { "Content-Type": "application/x-ndjson" });
}

const palette: Record<string, [number, number, number]> = {
  black: [0, 0, 0],
  grey: [128, 128, 128],
  white: [255, 255, 255],
  red: [220, 20, 30],
  orange: [255, 150, 30],
  yellow: [250, 230, 40],
  green: [30, 160, 50],
  cyan: [60, 210, 220],
  blue: [30, 70, 210],
  purple: [130, 40, 170],
  pink: [250, 160, 190],
  brown: [120, 75, 40],
};
const LOOK_SIZE = 48;
const MAIN_COLOUR_SHARE = 0.15;

async function look(bytes: Buffer): Promise<{ picture: Picture; sentence: string }> {
  const { format, width, height } = await sharp(bytes).metadata();
  const colours = await mainColours(bytes);
  const sentence = `A ${format.toUpperCase()} picture of ${width} × ${height} pixels, mostly ${colours.join(" and ")}.`;
  return { picture: { format, width, height, bytes: bytes.length }, sentence };
}

/** The one or two colours that most of it has. */
async function mainColours(bytes: Buffer): Promise<string[]> {
  const small = { width: LOOK_SIZE, height: LOOK_SIZE, fit: "fill", kernel: "nearest" } as const;
  const pixels = await sharp(bytes)
    .flatten({ background: "white" })
    .resize(small)
    .toColourspace("srgb")
    .raw()
    .toBuffer();
  const counts = new Map<string, number>();
  for (let offset = 0; offset + 2 < pixels.length; offset += 3) {
    const colour = nearestColour([...pixels.subarray(offset, offset + 3)]);
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  return [...counts]
    .sort(([, one], [, other]) => other - one)
    .filter(([, count], rank) => rank === 0 || count > LOOK_SIZE ** 2 * MAIN_COLOUR_SHARE)
    .slice(0, 2)
    .map(([name]) => name);
}

function nearestColour(pixel: number[]): string {
  const distance = (colour: number[]) =>
    colour.reduce((sum, value, index) => sum + (value - (pixel[index] ?? 0)) ** 2, 0);
  const names = Object.entries(palette).map(([name, colour]) => ({ name, far: distance(colour) }));
  return names.reduce((best, candidate) => (candidate.far < best.far ? candidate : best)).name;
}
