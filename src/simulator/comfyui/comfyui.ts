import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import type { WebSocket } from "ws";
import { z } from "zod";
import { messageOf } from "../../lib/text.ts";
import type { Render } from "../control/journal.ts";
import type { Pace } from "../control/timing.ts";
import type { Simulation, SimulatorEnv } from "../env.ts";
import type { Media } from "../sound/media.ts";
import { absent, type ComfyVersion, isForeign, statsOf } from "./answers.ts";
import { createComfyFiles } from "./files.ts";
import {
  cacheKeys,
  executionOrder,
  type Graph,
  graphSchema,
  literalsByClass,
  nodeError,
  nodeOf,
  validate,
} from "./graph.ts";
import { createNodeWork, type NodeRun } from "./nodes.ts";
import { createComfySockets } from "./sockets.ts";
import { strangeEntries, strangeItems } from "./strangers.ts";

export interface ComfyOptions extends Pace {
  simulation: Simulation;
  media: Media;
  node: string;
  /** Where this server keeps `input/`, `output/` and `temp/`. */
  folder: string;
  version: () => ComfyVersion;
  /** Whether SONIC sees faces in pictures that are large enough; true by default. */
  findsFaces?: () => boolean;
  /** Whether other clients have left things in history and queue. */
  hasStrangers?: () => boolean;
}

const promptBody = z.looseObject({
  prompt: z.unknown().optional(),
  client_id: z.string().optional(),
  prompt_id: z.unknown().optional(),
  extra_data: z.record(z.string(), z.unknown()).default({}),
});
const queueBody = z.looseObject({ clear: z.boolean().default(false), delete: z.array(z.string()).default([]) });
const interruptBody = z.looseObject({ prompt_id: z.string().nullish() });
const canonicalUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

type Outcome = NonNullable<Render["outcome"]>;

interface Prompt {
  id: string;
  number: number;
  graph: Graph;
  extraData: Record<string, unknown>;
  clientId: string | undefined;
  outputs: string[];
  /** Somebody asked for it; it takes effect at the next progress report or node border. */
  interrupted: boolean;
  /** Aborted when the server forgets it. */
  life: AbortController;
  messages: [name: string, data: object][];
  executed: string[];
  states: Record<string, object>;
  /** What the output nodes made. */
  made: Record<string, object>;
}

interface HistoryEntry {
  prompt: unknown[];
  outputs: Record<string, object>;
  status: { status_str: "success" | "error"; completed: boolean; messages: Prompt["messages"] };
  meta: object;
}

class Interrupted extends Error {
  override name = "Interrupted";
}

/** From `execution_success` until the run is in the history. */
const HISTORY_LAG_MS = 50;
const MAX_UPLOAD_BYTES = 100 * 1024 * 1024;

/**
 * One ComfyUI server on one node, with the inconvenient behaviour of the real one: an error in one branch of a
 * graph is answered 200 and the run then succeeds without that branch; the history lags behind
 * `execution_success`; what prompt ids and interrupts do depends on the version; a restart loses all but the files.
 */
export function createComfyServer(options: ComfyOptions) {
  const { simulation, media, node, version, findsFaces = () => true, hasStrangers = () => false } = options;
  const { faults, journal } = simulation;
  const files = createComfyFiles(options.folder);
  const nodeWork = createNodeWork({ media, faults, node, files, pace: options, findsFaces });

  const sockets = createComfySockets();
  const history = new Map<string, HistoryEntry>();
  /** What the nodes of the last run made, by everything that they were made from. */
  let cache = new Map<string, object | undefined>();
  let pending: Prompt[] = [];
  let running: Prompt | undefined;
  let executing: string | undefined;
  let count = 0;
  let down = false;

  // What the sockets are told.

  function tell({ clientId, life }: Prompt, type: string, data: object): void {
    if (clientId !== undefined && !life.signal.aborted) sockets.send(clientId, type, data);
  }

  /** Tells what the history will tell as well. */
  function note(prompt: Prompt, type: string, data: object): void {
    const message = { prompt_id: prompt.id, ...data, timestamp: Date.now() };
    prompt.messages.push([type, message]);
    tell(prompt, type, message);
  }

  const status = () => ({ exec_info: { queue_remaining: pending.length + (running === undefined ? 0 : 1) } });

  const tellStatus = () => sockets.sendAll("status", { status: status() });

  function tellState(prompt: Prompt, id: string, state: "running" | "finished", value: number, max: number): void {
    const place = { node_id: id, display_node_id: id, real_node_id: id, parent_node_id: null };
    prompt.states[id] = { value, max, state, prompt_id: prompt.id, ...place };
    tell(prompt, "progress_state", { prompt_id: prompt.id, nodes: prompt.states });
  }

  // How a prompt runs.

  function next(): void {
    if (running !== undefined || down) return;
    running = pending.shift();
    if (running === undefined) return;
    tellStatus();
    void run(running);
  }

  async function run(prompt: Prompt): Promise<void> {
    const { id, life } = prompt;
    const values = literalsByClass(prompt.graph);
    const journalled = journal.render({ id, node, kind: "portrait", startedAt: Date.now(), arguments: values });
    const ended = (outcome: Outcome) => {
      // A node that went down in the meantime has said so.
      if (journalled.outcome === undefined) Object.assign(journalled, { finishedAt: Date.now(), outcome });
    };
    life.signal.addEventListener("abort", () => ended("lost"));
    const outcome = await execute(prompt);
    ended(outcome);
    await delay(HISTORY_LAG_MS);
    if (life.signal.aborted) return;
    history.set(id, entryOf(prompt));
    running = undefined;
    executing = undefined;
    tellStatus();
    tell(prompt, "executing", { node: null, prompt_id: id });
    next();
  }

  async function execute(prompt: Prompt): Promise<Outcome> {
    const { graph, outputs } = prompt;
    const order = executionOrder(graph, outputs);
    const keys = cacheKeys(graph, order);
    cache = new Map([...cache].filter(([key]) => [...keys.values()].includes(key)));
    const cached = order.filter((id) => cache.has(keys.get(id) ?? ""));
    note(prompt, "execution_start", {});
    cutStream(prompt);
    note(prompt, "execution_cached", { nodes: cached });
    for (const id of order) {
      const key = keys.get(id) ?? "";
      try {
        const made = cached.includes(id) ? cache.get(key) : await executeNode(prompt, id);
        cache.set(key, made);
        if (made !== undefined) tellMade(prompt, id, made);
      } catch (error) {
        return prompt.life.signal.aborted ? "lost" : fail(prompt, id, error);
      }
    }
    note(prompt, "execution_success", {});
    return "success";
  }

  async function executeNode(prompt: Prompt, id: string): Promise<object | undefined> {
    checkpoint(prompt);
    executing = id;
    tellState(prompt, id, "running", 0, 1);
    tell(prompt, "executing", { node: id, display_node: id, prompt_id: prompt.id });
    const made = await nodeWork[nodeOf(prompt.graph, id).class_type]?.(nodeRun(prompt), id);
    prompt.life.signal.throwIfAborted();
    tellState(prompt, id, "finished", 1, 1);
    prompt.executed.push(id);
    return made;
  }

  const nodeRun = (prompt: Prompt): NodeRun => ({
    graph: prompt.graph,
    signal: prompt.life.signal,
    checkpoint: () => checkpoint(prompt),
    progressed(id, value, max) {
      tellState(prompt, id, "running", value, max);
      tell(prompt, "progress", { value, max, prompt_id: prompt.id, node: id });
    },
    crash: restart,
  });

  function checkpoint({ life, interrupted }: Prompt): void {
    life.signal.throwIfAborted();
    if (interrupted) throw new Interrupted();
  }

  function tellMade(prompt: Prompt, id: string, output: object): void {
    prompt.made[id] = output;
    tell(prompt, "executed", { node: id, display_node: id, output, prompt_id: prompt.id });
  }

  function fail(prompt: Prompt, id: string, error: unknown): Outcome {
    const { class_type, inputs } = nodeOf(prompt.graph, id);
    const place = { node_id: id, node_type: class_type, executed: prompt.executed };
    if (error instanceof Interrupted) {
      note(prompt, "execution_interrupted", place);
      return "interrupted";
    }
    const exception_message = `${messageOf(error)}\n`;
    const exception_type = error instanceof Error && error.name !== "Error" ? error.name : "RuntimeError";
    const traceback = [
      `  File "/app/ComfyUI/execution.py", line 349, in execute\n`,
      `${exception_type}: ${exception_message}`,
    ];
    const current_inputs = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, [String(value)]]));
    const context = { exception_message, exception_type, traceback, current_inputs };
    note(prompt, "execution_error", { ...place, ...context, current_outputs: [] });
    return "error";
  }

  function cutStream({ clientId }: Prompt): void {
    if (clientId === undefined || !sockets.has(clientId)) return;
    if (faults.take({ service: "comfyui", path: "/ws", node }, ["end_stream_early"])) sockets.close(clientId);
  }

  // What is asked of it.

  async function submit(c: Context<SimulatorEnv>): Promise<Response> {
    const { prompt, client_id: clientId, prompt_id: wanted, extra_data: extra } = promptBody.parse(await c.req.json());
    const refused = (error: object, node_errors = {}) => c.json({ error, node_errors }, 400);
    const graph = graphSchema.safeParse(prompt);
    if (!graph.success) return refused(nodeError("invalid_prompt", "Cannot execute: this is not a graph", ""));
    if (version() === "latest" && wanted !== undefined && !canonicalUuid.test(String(wanted)))
      return refused(nodeError("invalid_prompt_id", "prompt_id must be a canonical UUID", String(wanted)));
    const { error, nodeErrors, outputs } = validate(graph.data, files.isUploaded);
    if (error !== undefined) return refused(error, nodeErrors);
    const id = version() === "0.3.33" || wanted === undefined ? randomUUID() : String(wanted);
    const extraData = clientId === undefined ? extra : { ...extra, client_id: clientId };
    const queued = newPrompt({ id, number: count, graph: graph.data, extraData, clientId, outputs });
    count += 1;
    pending.push(queued);
    tellStatus();
    next();
    return c.json({ prompt_id: id, number: queued.number, node_errors: nodeErrors });
  }

  function forget(unwanted: (prompt: Prompt) => boolean): boolean {
    const before = pending.length;
    pending = pending.filter((prompt) => !unwanted(prompt));
    if (pending.length < before) tellStatus();
    return pending.length < before;
  }

  async function editQueue(c: Context<SimulatorEnv>): Promise<Response> {
    const body = queueBody.parse(await c.req.json());
    forget(({ id }) => body.clear || body.delete.includes(id));
    return c.body(null, 200);
  }

  async function interrupt(c: Context<SimulatorEnv>): Promise<Response> {
    const body = interruptBody.safeParse(await c.req.json().catch(() => undefined));
    const respected = version() === "0.3.64" || version() === "latest";
    const id = respected ? body.data?.prompt_id : undefined;
    if (running !== undefined && (!id || id === running.id)) running.interrupted = true;
    return c.body(null, 200);
  }

  function tellJob(c: Context<SimulatorEnv>): Response {
    if (version() !== "latest") return absent(c);
    const id = c.req.param("id") ?? "";
    const entry = history.get(id);
    if (entry !== undefined) return c.json({ id, ...jobOf(entry) });
    if (running?.id === id) return c.json({ id, status: "in_progress", outputs_count: 0 });
    const waits = pending.some((prompt) => prompt.id === id);
    return waits ? c.json({ id, status: "pending", outputs_count: 0 }) : c.json({ error: "Job not found" }, 404);
  }

  function cancelJob(c: Context<SimulatorEnv>): Response {
    if (version() !== "latest") return absent(c);
    const id = c.req.param("id");
    const hit = running?.id === id ? running : undefined;
    if (hit !== undefined) hit.interrupted = true;
    return c.json({ cancelled: forget((prompt) => prompt.id === id) || hit !== undefined });
  }

  const routes = new Hono<SimulatorEnv>();
  routes.use("*", async (c, next) => (isForeign(c) ? c.body(null, 403) : await next()));
  routes.get("/system_stats", (c) => c.json(statsOf(version())));
  const tooLarge = bodyLimit({ maxSize: MAX_UPLOAD_BYTES, onError: (c) => c.text("Request body too large", 413) });
  routes.post("/upload/image", tooLarge, files.upload);
  routes.post("/prompt", submit);
  routes.get("/history", (c) => {
    const wanted = c.req.query("max_items");
    const entries = [...(hasStrangers() ? strangeEntries : []), ...history];
    return c.json(Object.fromEntries(entries.slice(wanted === undefined ? 0 : -Number(wanted))));
  });
  routes.get("/history/:id", (c) => {
    const entry = history.get(c.req.param("id"));
    return c.json(entry === undefined ? {} : { [c.req.param("id")]: entry });
  });
  routes.get("/queue", (c) => {
    const queue_running = running === undefined ? [] : [queueItem(running)];
    const others = hasStrangers() ? strangeItems : [];
    return c.json({ queue_running, queue_pending: [...others, ...pending.map(queueItem)] });
  });
  routes.post("/queue", editQueue);
  routes.post("/interrupt", interrupt);
  routes.get("/view", files.view);
  routes.get("/api/jobs/:id", tellJob);
  routes.post("/api/jobs/:id/cancel", cancelJob);
  routes.all("*", absent);

  /** Everything that waits or runs is gone. */
  function abandon(): void {
    running?.life.abort();
    running = undefined;
    executing = undefined;
    pending = [];
    sockets.drop();
  }

  /** The server restarts: history, queue and cache are lost, files stay. */
  function restart(): void {
    abandon();
    history.clear();
    cache = new Map();
    count = 0;
  }

  return {
    routes,
    /** A client listens; an older socket of the same client hears nothing any more. */
    attach(socket: WebSocket, clientId: string): void {
      const sid = sockets.add(clientId, socket);
      sockets.send(sid, "status", { status: status(), sid });
      // As in the real server, this one comes without the id of the prompt.
      if (running?.clientId === sid && executing !== undefined) sockets.send(sid, "executing", { node: executing });
    },
    restart,
    shutDown(): void {
      down = true;
      abandon();
    },
  };
}

function newPrompt(prompt: Pick<Prompt, "id" | "number" | "graph" | "extraData" | "clientId" | "outputs">): Prompt {
  const nothing = { messages: [], executed: [], states: {}, made: {} };
  return { ...prompt, ...nothing, interrupted: false, life: new AbortController() };
}

const queueItem = ({ number, id, graph, extraData, outputs }: Prompt) => [number, id, graph, extraData, outputs];

function entryOf(prompt: Prompt): HistoryEntry {
  const { messages, made } = prompt;
  const completed = messages.at(-1)?.[0] === "execution_success";
  const status = { status_str: completed ? ("success" as const) : ("error" as const), completed, messages };
  return { prompt: queueItem(prompt), outputs: made, status, meta: {} };
}

function jobOf({ outputs, status }: HistoryEntry) {
  const interrupted = status.messages.at(-1)?.[0] === "execution_interrupted";
  const state = status.completed ? "completed" : interrupted ? "cancelled" : "failed";
  return { status: state, outputs_count: Object.keys(outputs).length, outputs, execution_status: status };
}
