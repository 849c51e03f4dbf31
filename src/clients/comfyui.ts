import { Readable } from "node:stream";
import { FormData, type RequestInit, type Response } from "undici";
import { WebSocket } from "ws";
import { z } from "zod";
import { oneLine } from "../lib/text.ts";
import { timeLimit } from "../lib/timeLimit.ts";
import { jsonOf, readText } from "./answers.ts";
import { type HistoryEntry, historySchema, type OutputFile, type QueuedPrompt, queueSchema } from "./comfyuiHistory.ts";
import { keyRefused, ModelFailure, reasonOf } from "./modelCall.ts";
import { nodeFetch } from "./nodeFetch.ts";

/**
 * The HTTP API of a ComfyUI server, as far as a render needs it, over all its versions since 0.3.33.
 * Every call has a time limit of its own; a server that does not answer throws `ComfyUnreachable`.
 */
export interface ComfyUi {
  /** The server's version, such as `0.3.64`. */
  version(signal: AbortSignal): Promise<string>;
  /**
   * Sends an input file, streamed from disk.
   * @returns the name under which a graph refers to it; not always the one that was asked for
   * @throws ComfyRefused when it is too large
   */
  upload(file: File, signal: AbortSignal): Promise<string>;
  /**
   * Puts a graph into the queue.
   * @returns the prompt's id: the caller's on servers that take one
   * @throws ComfyRefused when the graph, or a branch of it, is not valid
   */
  submit(graph: Graph, promptId: string, clientId: string): Promise<string>;
  /** The prompts that run or wait. */
  queue(): Promise<{ running: QueuedPrompt[]; pending: QueuedPrompt[] }>;
  /** What became of a prompt; undefined while it waits, runs, or is unknown. */
  history(promptId: string): Promise<HistoryEntry | undefined>;
  /** The latest prompts that ended. */
  recentHistory(): Promise<HistoryEntry[]>;
  /** Takes a waiting prompt out of the queue; one that runs is not touched. */
  deleteFromQueue(promptId: string): Promise<void>;
  /** Interrupts a running prompt. Servers before 0.3.57 ignore the id and interrupt whatever runs. */
  interrupt(promptId: string): Promise<void>;
  /** What is in an output file; undefined when there is none. */
  openOutput(file: OutputFile, signal: AbortSignal): Promise<Readable | undefined>;
  fileUrl(file: OutputFile): string;
  /** Listens to what the server says of the prompts of one client, until `close`. */
  listen(clientId: string, onEvent: (event: ComfyEvent) => void): { close(): void };
}

/** A graph in ComfyUI's API format: node id → class and inputs. */
export type Graph = Record<string, { class_type: string; inputs: Record<string, unknown> }>;

export type ComfyEvent =
  | { kind: "progress"; value: number; max: number; node: string | undefined }
  /** Something of a prompt ended: the history is worth a look. */
  | { kind: "ended" }
  /** Nothing more is heard. */
  | { kind: "closed" };

/** The server did not answer, or not in its own words; asking again can help. */
export class ComfyUnreachable extends Error {
  override name = "ComfyUnreachable";
}

/** The server says no. */
export class ComfyRefused extends Error {
  override name = "ComfyRefused";
}

const TIMEOUT_MS = 30_000;
const FILE_TIMEOUT_MS = 600_000;
const RECENT = 50;
/** Previews of pictures are the largest. */
const MAX_EVENT_BYTES = 16 * 1024 * 1024;

const complaint = z.object({ message: z.string().catch("not valid"), details: z.string().catch("") });
const nodeError = z.object({
  class_type: z.string().optional().catch(undefined),
  errors: z.array(complaint).catch([]),
});
const nodeErrors = z.record(z.string(), nodeError).catch({});
const submittedSchema = z.object({ prompt_id: z.string(), node_errors: nodeErrors });
const refusedSchema = z.object({ error: complaint, node_errors: nodeErrors });
const uploadedSchema = z.object({ name: z.string().min(1).max(1000), subfolder: z.string().max(1000).default("") });
const statsSchema = z.object({
  system: z.object({
    comfyui_version: z
      .string()
      .default("unknown")
      .transform((version) => oneLine(version)),
  }),
});

interface CallOptions extends RequestInit {
  timeoutMs?: number;
}

/** @param baseUrl without a trailing slash */
export function createComfyUi(baseUrl: string, apiKey: string): ComfyUi {
  async function call(path: string, init: CallOptions = {}): Promise<Response> {
    const { timeoutMs = TIMEOUT_MS, signal, ...rest } = init;
    try {
      const response = await nodeFetch(`${baseUrl}${path}`, apiKey, { ...rest, signal: timeLimit(timeoutMs, signal) });
      if (response.status !== 401 && response.status !== 403) return response;
      await response.body?.cancel();
      throw keyRefused(response.status);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof ModelFailure) throw error;
      throw new ComfyUnreachable(`ComfyUI ${pathOf(path)} could not be reached: ${reasonOf(error)}`, { cause: error });
    }
  }

  async function read<T>(path: string, schema: z.ZodType<T>, init?: CallOptions): Promise<T> {
    const response = await call(path, init);
    const text = await readText(response).catch((error: unknown) => {
      throw new ComfyUnreachable(`ComfyUI ${pathOf(path)} broke off: ${reasonOf(error)}`, { cause: error });
    });
    const answer = jsonOf(text);
    const parsed = response.ok ? schema.safeParse(answer) : undefined;
    if (parsed?.success) return parsed.data;
    if (response.status === 400) throw new ComfyRefused(refusalOf(answer));
    if (response.status === 413) throw new ComfyRefused("the node refused a file because it is too large");
    throw new ComfyUnreachable(`ComfyUI ${pathOf(path)} answered ${response.status} with something unexpected`);
  }

  /** The answer says nothing that its status does not. */
  async function tell(path: string, body: unknown): Promise<void> {
    const response = await call(path, post(body));
    await response.body?.cancel();
    if (!response.ok) throw new ComfyUnreachable(`ComfyUI ${path} answered ${response.status}`);
  }

  return {
    fileUrl: (file) => `${baseUrl}${viewPath(file)}`,

    async version(signal) {
      return (await read("/system_stats", statsSchema, { signal })).system.comfyui_version;
    },

    async upload(file, signal) {
      const body = new FormData();
      body.append("image", file);
      const uploaded = await read("/upload/image", uploadedSchema, {
        method: "POST",
        body,
        signal,
        timeoutMs: FILE_TIMEOUT_MS,
      });
      return uploaded.subfolder === "" ? uploaded.name : `${uploaded.subfolder}/${uploaded.name}`;
    },

    async submit(graph, promptId, clientId) {
      const prompt = { prompt: graph, client_id: clientId, prompt_id: promptId };
      const submitted = await read("/prompt", submittedSchema, post(prompt));
      if (Object.keys(submitted.node_errors).length > 0) {
        // The other branches would run, and end well without what is wanted.
        await tell("/queue", { delete: [submitted.prompt_id] });
        throw new ComfyRefused(describeNodeErrors(submitted.node_errors));
      }
      return submitted.prompt_id;
    },

    async queue() {
      const { queue_running: running, queue_pending: pending } = await read("/queue", queueSchema);
      return { running, pending };
    },

    async history(promptId) {
      const entries = await read(`/history/${encodeURIComponent(promptId)}`, historySchema);
      return entries.find(({ id }) => id === promptId);
    },

    recentHistory: () => read(`/history?max_items=${RECENT}`, historySchema),

    deleteFromQueue: (promptId) => tell("/queue", { delete: [promptId] }),
    interrupt: (promptId) => tell("/interrupt", { prompt_id: promptId }),

    async openOutput(file, signal) {
      const response = await call(viewPath(file), { signal, timeoutMs: FILE_TIMEOUT_MS });
      if (response.ok && response.body !== null) return Readable.fromWeb(response.body);
      await response.body?.cancel();
      if (response.status === 404) return undefined;
      throw new ComfyUnreachable(`ComfyUI /view answered ${response.status}`);
    },

    listen(clientId, onEvent) {
      const url = `${baseUrl.replace(/^http/, "ws")}/ws?${new URLSearchParams({ clientId })}`;
      const socket = new WebSocket(url, {
        headers: { "X-C3-API-KEY": apiKey },
        handshakeTimeout: TIMEOUT_MS,
        followRedirects: false,
        maxPayload: MAX_EVENT_BYTES,
        perMessageDeflate: false,
      });
      let open = true;
      socket.on("message", (data, isBinary) => {
        // Binary messages are previews.
        const event = isBinary || !open ? undefined : eventOf(jsonOf(data.toString()));
        if (event !== undefined) onEvent(event);
      });
      const over = () => {
        if (open) onEvent({ kind: "closed" });
        open = false;
      };
      socket.on("close", over);
      socket.on("error", over);
      return {
        close() {
          open = false;
          socket.terminate();
        },
      };
    },
  };
}

function post(body: unknown): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

const eventSchema = z.object({ type: z.string(), data: z.record(z.string(), z.unknown()) });
const progressSchema = z.object({ value: z.number(), max: z.number().positive(), node: z.string().nullish() });

function eventOf(message: unknown): ComfyEvent | undefined {
  const event = eventSchema.safeParse(message);
  if (!event.success) return undefined;
  const { type, data } = event.data;
  switch (type) {
    case "progress": {
      const progress = progressSchema.safeParse(data);
      if (!progress.success) return undefined;
      const { value, max, node } = progress.data;
      return { kind: "progress", value, max, node: node ?? undefined };
    }
    case "executing":
      return data.node === null ? { kind: "ended" } : undefined;
    case "execution_success":
    case "execution_error":
    case "execution_interrupted":
      return { kind: "ended" };
    default:
      return undefined;
  }
}

function refusalOf(answer: unknown): string {
  const refused = refusedSchema.safeParse(answer);
  if (!refused.success) return "ComfyUI refused the request";
  const { error, node_errors: nodes } = refused.data;
  if (Object.keys(nodes).length > 0) return describeNodeErrors(nodes);
  return oneLine(`ComfyUI refused the graph: ${sentence(error)}`);
}

function describeNodeErrors(nodes: Record<string, z.infer<typeof nodeError>>): string {
  const described = Object.entries(nodes).map(([id, { class_type: type, errors }]) => {
    return `${type ?? "a node"} (node ${id}): ${errors.map(sentence).join(", ") || "not valid"}`;
  });
  return oneLine(`ComfyUI refused the graph: ${described.join("; ")}`);
}

function sentence({ message, details }: { message: string; details: string }): string {
  return details === "" ? message : `${message} (${details})`;
}

function viewPath({ filename, subfolder, type }: OutputFile): string {
  return `/view?${new URLSearchParams({ filename, subfolder, type })}`;
}

function pathOf(path: string): string {
  return path.split("?")[0] ?? path;
}
