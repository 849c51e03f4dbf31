import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import { z } from "zod";
import type { FaultTarget } from "../control/faults.ts";
import type { Simulation, SimulatorEnv } from "../env.ts";
import { type GradioApp, GradioError, type GradioVersion, type Output, type Run } from "./app.ts";
import { apiPrefix, configOf, infoOf } from "./description.ts";
import { createGradioFiles } from "./files.ts";

const HEARTBEAT_MS = 15_000;
const UNEXPECTED = {
  msg: "unexpected_error",
  event_id: null,
  message: "Connection to the worker was lost",
  success: false,
};
const joinBody = z.object({ data: z.array(z.unknown()), fn_index: z.number(), session_hash: z.string() });
const eventBody = z.object({ event_id: z.string() });
const fileData = z.object({ path: z.string() });

interface Event {
  id: string;
  session: string;
  data: unknown[];
  /** Its caller has gone, or cancelled: it does not run, or its result goes nowhere. */
  dead: boolean;
  /** It was taken back while it waited. */
  cancelled: boolean;
}

interface Session {
  messages: object[];
  pending: Set<string>;
  stream: ServerResponse | undefined;
}

export interface GradioServerOptions {
  simulation: Simulation;
  app: GradioApp;
  node: string;
  /** Where it is reached. */
  root: string;
  /** Where it keeps its files. */
  folder: string;
  version: () => GradioVersion;
  /** How many calls may wait; as many as come when undefined. */
  queueSize: () => number | undefined;
}

/**
 * One Gradio server (protocol `sse_v3`) on one node, with the inconvenient behaviour of the real one: one
 * run at a time; a stream that drops loses the result while the run goes on and keeps the slot; a waiting event
 * whose stream drops never runs; a cancel frees the slot at once while the function runs on.
 */
export function createGradioServer(options: GradioServerOptions) {
  const { app, node, root, version } = options;
  const { faults } = options.simulation;
  const files = createGradioFiles(options);
  const heartbeats = new Set<ServerResponse>();
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
      const fault = started ? faults.take(target("/queue/data"), ["end_stream_early", "unexpected_error"]) : undefined;
      const cut = fault !== undefined;
      if (fault?.action === "unexpected_error") stream.write(`data: ${JSON.stringify(UNEXPECTED)}\n\n`);
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
    // 5.50 tells the caller of a cancelled call that it is over, and runs it all the same.
    const runs = !event.dead || (event.cancelled && version() === "5.50");
    if (!runs) {
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
    send(event.session, { msg: "process_starts", event_id: id, eta: 10 });
    try {
      const complaint = app.validate(args, version());
      if (complaint !== undefined) throw new GradioError(complaint);
      const fails = faults.take(target("/run"), ["render_error"]) !== undefined;
      const run: Run = { id, node, arguments: args, progress: (...step) => progress(event, ...step) };
      const outputs = fails ? fail("a fault of the simulator") : await app.run(run);
      const seconds = (performance.now() - startedAt) / 1000;
      const data = await Promise.all(outputs.map((output, index) => describeOutput(output, app.outputs[index] ?? "")));
      if (event.dead) return;
      finish(event, { data, is_generating: false, duration: seconds, average_duration: seconds }, true);
    } catch (error) {
      finish(event, describeError(error, version()), false);
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

  async function describeOutput(output: Output, component: string): Promise<unknown> {
    if (typeof output === "string") return output;
    if (!Array.isArray(output)) return await files.describe(output, component);
    return await Promise.all(output.map((file) => files.describe(file, component)));
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
    const size = options.queueSize();
    if (size !== undefined && queue.length >= size) {
      return c.json({ detail: `Queue is full. Max size is ${size} and size is ${queue.length}.` }, 503);
    }
    const { data, session_hash } = body.data;
    const event: Event = {
      id: randomUUID().replaceAll("-", ""),
      session: session_hash,
      data,
      dead: false,
      cancelled: false,
    };
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
      event.cancelled = event !== running;
      finish(event, {}, true);
      if (running === event) running = undefined;
      next();
    }
    return c.json({ success: true });
  }

  /** Open as long as its client is there, so that the app may forget a state that nobody needs any more. */
  function heartbeat(c: Context<SimulatorEnv>): Response {
    const { outgoing } = c.env;
    outgoing.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    const beat = () => outgoing.write("data: ALIVE\n\n");
    beat();
    const beating = setInterval(beat, HEARTBEAT_MS);
    heartbeats.add(outgoing);
    outgoing.once("close", () => {
      clearInterval(beating);
      heartbeats.delete(outgoing);
    });
    return RESPONSE_ALREADY_SENT;
  }

  const api = new Hono<SimulatorEnv>();
  api.use(async (c, next) => {
    const right = c.req.path.startsWith("/gradio_api/") === (apiPrefix(version()) !== "");
    return right ? await next() : c.json({ detail: "Not Found" }, 404);
  });
  api.get("/info", (c) => c.json(infoOf(app)));
  api.post("/upload", files.upload);
  api.post("/queue/join", enqueue);
  api.get("/queue/data", listen);
  api.get("/heartbeat/:session", heartbeat);
  api.post("/cancel", cancel);
  api.post("/reset", (c) => c.json({ success: true }));
  api.get("/*", async (c) =>
    c.req.path.includes("/file=") ? await files.serve(c) : c.json({ detail: "Not Found" }, 404),
  );

  const routes = new Hono<SimulatorEnv>();
  routes.get("/", (c) => c.html(`<title>simulator</title><p>The c3-render simulator of ${app.endpoint} on ${node}.`));
  routes.get("/config", (c) => {
    const foreign = faults.take(target("/config"), ["foreign_root"]);
    return c.json(configOf(app, foreign === undefined ? root : "http://elsewhere.invalid/csm", version()));
  });
  routes.route("/gradio_api", api);
  routes.route("/", api);

  function dropStreams(): void {
    for (const { stream } of sessions.values()) stream?.destroy();
    for (const outgoing of heartbeats) outgoing.destroy();
  }

  return {
    routes,
    /** The app restarts: queue and sessions are lost, files stay. */
    restart(): void {
      dropStreams();
      sessions = new Map();
      queue = [];
      running = undefined;
    },
    shutDown(): void {
      down = true;
      dropStreams();
    },
  };
}

/** What went wrong, as far as the app meant to tell it. */
function describeError(error: unknown, version: GradioVersion) {
  if (!(error instanceof GradioError)) return { error: null };
  const shown = { duration: 10, visible: true };
  if (version === "4.44") return { error: quoted(error.message), ...shown };
  return { error: error.message, ...shown, title: "Error" };
}

/** As Python's `repr` writes a text. */
function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(quote, `\\${quote}`);
  return `${quote}${escaped}${quote}`;
}

/** Files arrive as objects that name a path. */
function pathOf(value: unknown): unknown {
  const file = fileData.safeParse(value);
  return file.success ? file.data.path : value;
}
