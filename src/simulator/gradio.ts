import { randomBytes, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, stat, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import { getMimeType } from "hono/utils/mime";
import { z } from "zod";
import type { Simulation, SimulatorEnv } from "./env.ts";
import type { FaultTarget, Service } from "./faults.ts";

/** A parameter of the app's function, in its order. */
export interface Parameter {
  name: string;
  component: string;
  /** Undefined: the client must send one. */
  initial?: unknown;
}

/** A file that the function made, on the disk of the node. */
export interface MadeFile {
  file: string;
  mimeType: string;
}

/** What a function returns: a value, a file, or several files, as the component of that place wants it. */
export type Output = string | MadeFile | MadeFile[];

export interface Run {
  id: string;
  node: string;
  /** By name. Files are paths on the disk of the node. */
  arguments: Record<string, unknown>;
  progress: (index: number, length: number, description: string) => void;
}

/** A Gradio app with one function. */
export interface GradioApp {
  service: Service;
  endpoint: string;
  parameters: Parameter[];
  /** The components that show its outputs. */
  outputs: string[];
  /** The range check that Gradio does before the function runs: the sentence it complains with. */
  validate(args: Record<string, unknown>): string | undefined;
  /** @throws GradioError with the words that the caller reads; anything else arrives as null */
  run(run: Run): Promise<Output[]>;
  /** How the app reports a failure, if it does not raise it. */
  failure?(reason: string): Output[];
}

/** What an app raises on purpose. */
export class GradioError extends Error {
  override name = "GradioError";
}

const API = "/gradio_api";
const HEARTBEAT_MS = 15_000;
const joinBody = z.object({ data: z.array(z.unknown()), fn_index: z.number(), session_hash: z.string() });
const eventBody = z.object({ event_id: z.string() });
const fileData = z.object({ path: z.string() });

interface Event {
  id: string;
  session: string;
  data: unknown[];
  /** Its caller has gone, or cancelled: it does not run, or its result goes nowhere. */
  dead: boolean;
}

interface Session {
  messages: object[];
  pending: Set<string>;
  stream: ServerResponse | undefined;
}

/**
 * One Gradio 6 server (protocol `sse_v3`) on one node, with the inconvenient behaviour of the real one: one
 * run at a time; a stream that drops loses the result while the run goes on and keeps the slot; a waiting event
 * whose stream drops never runs; a cancel frees the slot at once while the function runs on.
 */
export function createGradioServer(simulation: Simulation, app: GradioApp, node: string, root: string, folder: string) {
  const { faults } = simulation;
  const target = (path: string): FaultTarget => ({ service: app.service, path, node });
  let sessions = new Map<string, Session>();
  let queue: Event[] = [];
  let running: Event | undefined;
  let down = false;

  function session(hash: string): Session {
    const known = sessions.get(hash) ?? { messages: [], pending: new Set<string>(), stream: undefined };
    sessions.set(hash, known);
    return known;
  }

  function send(hash: string, message: object): void {
    const receiver = sessions.get(hash);
    if (receiver === undefined) return;
    receiver.messages.push(message);
    flush(receiver, hash);
  }

  function flush(receiver: Session, hash: string): void {
    const { stream } = receiver;
    if (stream === undefined) return;
    for (const message of receiver.messages.splice(0)) {
      stream.write(`data: ${JSON.stringify(message)}\n\n`);
      const started = "msg" in message && message.msg === "process_starts";
      const cut = started && faults.take(target(`${API}/queue/data`), ["end_stream_early"]) !== undefined;
      if (cut || ("msg" in message && message.msg === "close_stream")) {
        receiver.stream = undefined;
        stream.end();
        if (cut) forget(hash);
        return;
      }
    }
  }

  /** The stream of a session dropped: nothing of it can be had any more. */
  function forget(hash: string): void {
    for (const event of [...queue, ...(running === undefined ? [] : [running])]) {
      if (event.session === hash) event.dead = true;
    }
    sessions.delete(hash);
  }

  function finish(event: Event, output: object, success: boolean): void {
    send(event.session, { msg: "process_completed", event_id: event.id, output, success });
    const known = sessions.get(event.session);
    known?.pending.delete(event.id);
    if (known?.pending.size === 0) send(event.session, { msg: "close_stream", event_id: null });
  }

  function next(): void {
    if (running !== undefined || down) return;
    const event = queue.shift();
    for (const [rank, waiting] of queue.entries()) announce(waiting, rank);
    if (event === undefined) return;
    if (event.dead) {
      next();
      return;
    }
    running = event;
    void execute(event).finally(() => {
      if (running === event) running = undefined;
      next();
    });
  }

  function announce(event: Event, rank: number): void {
    const estimation = { rank, queue_size: queue.length, rank_eta: 10 * (rank + 1) };
    send(event.session, { msg: "estimation", event_id: event.id, ...estimation });
  }

  async function execute(event: Event): Promise<void> {
    const { id } = event;
    const args = Object.fromEntries(app.parameters.map(({ name }, index) => [name, pathOf(event.data[index])]));
    const startedAt = performance.now();
    const complaint = app.validate(args);
    if (complaint !== undefined) return finish(event, { error: complaint }, false);
    send(event.session, { msg: "process_starts", event_id: id, eta: 10 });
    try {
      const fails = faults.take(target(`${API}/run`), ["render_error"]) !== undefined;
      const run: Run = { id, node, arguments: args, progress: (...step) => progress(event, ...step) };
      const outputs = fails ? fail("a fault of the simulator") : await app.run(run);
      const seconds = (performance.now() - startedAt) / 1000;
      const data = await Promise.all(outputs.map(describeOutput));
      if (event.dead) return;
      finish(event, { data, is_generating: false, duration: seconds, average_duration: seconds }, true);
    } catch (error) {
      finish(event, { error: error instanceof GradioError ? error.message : null }, false);
    }
  }

  function fail(reason: string): Output[] {
    if (app.failure === undefined) throw new GradioError(`Generation failed: ${reason}`);
    return app.failure(reason);
  }

  function progress(event: Event, index: number, length: number, desc: string): void {
    const progress_data = [{ index, length, unit: "items", progress: null, desc }];
    send(event.session, { msg: "progress", event_id: event.id, progress_data });
  }

  async function describeOutput(output: Output): Promise<unknown> {
    if (typeof output === "string") return output;
    return Array.isArray(output) ? await Promise.all(output.map(describeFile)) : await describeFile(output);
  }

  async function describeFile({ file, mimeType }: MadeFile) {
    const { size } = await stat(file);
    const url = `${root}${API}/file=${file}`;
    return { path: file, url, size, orig_name: basename(file), mime_type: mimeType, is_stream: false, meta };
  }

  /** Listens to a session; what was sent before it listened is kept for it. */
  function listen(c: Context<SimulatorEnv>): Response {
    const hash = c.req.query("session_hash") ?? "";
    const { outgoing } = c.env;
    outgoing.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" });
    const receiver = sessions.get(hash);
    if (receiver === undefined) {
      const gone = { msg: "unexpected_error", message: "Session not found.", session_not_found: true, success: false };
      outgoing.end(`data: ${JSON.stringify(gone)}\n\n`);
      return RESPONSE_ALREADY_SENT;
    }
    receiver.stream = outgoing;
    const beat = setInterval(() => send(hash, { msg: "heartbeat", event_id: null }), HEARTBEAT_MS);
    outgoing.once("close", () => {
      clearInterval(beat);
      if (receiver.stream === outgoing) forget(hash);
    });
    flush(receiver, hash);
    return RESPONSE_ALREADY_SENT;
  }

  async function enqueue(c: Context<SimulatorEnv>): Promise<Response> {
    const body = joinBody.safeParse(await c.req.json());
    if (!body.success) return c.json({ detail: "not a call" }, 422);
    const { data, session_hash } = body.data;
    const event: Event = { id: randomUUID().replaceAll("-", ""), session: session_hash, data, dead: false };
    session(session_hash).pending.add(event.id);
    queue.push(event);
    announce(event, queue.length - 1);
    next();
    return c.json({ event_id: event.id });
  }

  async function cancel(c: Context<SimulatorEnv>): Promise<Response> {
    const body = eventBody.parse(await c.req.json());
    const event = [...queue, ...(running === undefined ? [] : [running])].find(({ id }) => id === body.event_id);
    if (event !== undefined) {
      event.dead = true;
      finish(event, {}, true);
      if (running === event) running = undefined;
      next();
    }
    return c.json({ success: true });
  }

  async function upload(c: Context<SimulatorEnv>): Promise<Response> {
    const form = await c.req.formData();
    const paths: string[] = [];
    for (const file of form.getAll("files")) {
      if (typeof file === "string") continue;
      const place = join(folder, randomBytes(8).toString("hex"));
      await mkdir(place, { recursive: true });
      const path = join(place, basename(file.name));
      await writeFile(path, Buffer.from(await file.arrayBuffer()));
      paths.push(path);
    }
    return c.json(paths);
  }

  async function serveFile(c: Context<SimulatorEnv>): Promise<Response> {
    const path = decodeURIComponent(c.req.path.slice(c.req.path.indexOf("/file=") + "/file=".length));
    const found = path.startsWith(folder) && !path.includes("..") ? await stat(path).catch(() => undefined) : undefined;
    if (found === undefined) return c.json({ detail: "File not found" }, 404);
    const contentType = getMimeType(path) ?? "application/octet-stream";
    const headers = { "content-length": String(found.size), "content-type": contentType };
    return c.body(Readable.toWeb(createReadStream(path)), 200, headers);
  }

  const routes = new Hono<SimulatorEnv>();
  routes.get("/", (c) => c.html(`<title>simulator</title><p>The c3-render simulator of ${app.endpoint} on ${node}.`));
  routes.get("/config", (c) => {
    const foreign = faults.take(target("/config"), ["foreign_root"]);
    return c.json(configOf(app, foreign === undefined ? root : "http://elsewhere.invalid/csm"));
  });
  routes.get(`${API}/info`, (c) => c.json(infoOf(app)));
  routes.post(`${API}/upload`, upload);
  routes.post(`${API}/queue/join`, enqueue);
  routes.get(`${API}/queue/data`, listen);
  routes.post(`${API}/cancel`, cancel);
  routes.post(`${API}/reset`, (c) => c.json({ success: true }));
  routes.get(`${API}/*`, async (c) => {
    return c.req.path.includes(`${API}/file=`) ? await serveFile(c) : c.json({ detail: "Not Found" }, 404);
  });

  return {
    routes,
    /** The app restarts: queue and sessions are lost, files stay. */
    restart(): void {
      for (const { stream } of sessions.values()) stream?.destroy();
      sessions = new Map();
      queue = [];
      running = undefined;
    },
    shutDown(): void {
      down = true;
      for (const { stream } of sessions.values()) stream?.destroy();
    },
  };
}

const meta = { _type: "gradio.FileData" };

/** Files arrive as objects that name a path. */
function pathOf(value: unknown): unknown {
  const file = fileData.safeParse(value);
  return file.success ? file.data.path : value;
}

function configOf({ endpoint, parameters, outputs: shown }: GradioApp, root: string) {
  const component = (id: number, type: string, name: string) => ({
    id,
    type,
    props: { name },
    component_class_id: `${id}`,
  });
  const inputs = parameters.map((_, index) => index + 1);
  const outputs = shown.map((_, index) => parameters.length + 1 + index);
  const dependency = {
    id: 0,
    targets: [[1, "click"]],
    inputs,
    outputs,
    backend_fn: true,
    js: null,
    queue: true,
    api_name: endpoint.slice(1),
    types: { generator: false, cancel: false },
    api_visibility: "public",
    connection: "sse",
    cancels: [],
    trigger_mode: "once",
    rendered_in: null,
  };
  const components = [
    ...parameters.map((parameter, index) => component(index + 1, parameter.component, parameter.name)),
    ...shown.map((type, index) => component(parameters.length + 1 + index, type.toLowerCase(), `output ${index + 1}`)),
  ];
  return {
    version: "6.31.0",
    api_prefix: API,
    app_id: 1,
    mode: "blocks",
    protocol: "sse_v3",
    enable_queue: true,
    root,
    connect_heartbeat: false,
    components,
    dependencies: [dependency],
    page: { "": { components: components.map(({ id }) => id), dependencies: [0], layout: {} } },
    layout: {},
    title: "c3-render simulator",
    theme: "",
    username: null,
    space_id: null,
    is_space: false,
  };
}

function infoOf({ endpoint, parameters, outputs }: GradioApp) {
  const described = parameters.map(({ name, component, initial }) => ({
    label: name,
    parameter_name: name,
    parameter_has_default: initial !== undefined,
    parameter_default: initial ?? null,
    type: { type: "string" },
    python_type: { type: "str", description: "" },
    component,
    example_input: null,
  }));
  const returns = outputs.map((type, index) => ({
    label: `output ${index + 1}`,
    type: {},
    component: type,
    python_type: { type: "str", description: "" },
  }));
  return { named_endpoints: { [endpoint]: { parameters: described, returns } }, unnamed_endpoints: {} };
}
