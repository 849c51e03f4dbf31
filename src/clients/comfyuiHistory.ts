import { z } from "zod";
import { isPath, oneLine } from "../lib/text.ts";

/**
 * What ComfyUI tells of prompts. History and queue hold those of every client, and of custom nodes, in shapes of their
 * own: nothing in them may keep ours from being found, so whatever is not understood counts as not there.
 */

export interface QueuedPrompt {
  /** Empty for what is not understood: it is counted, and nobody's. */
  id: string;
  graph: unknown;
}

export interface HistoryEntry {
  id: string;
  graph: unknown;
  state: "success" | "failed" | "interrupted";
  /** A sentence with node and cause, for `failed`. */
  error?: string;
  files: OutputFile[];
}

export interface OutputFile {
  filename: string;
  subfolder: string;
  type: string;
}

export const queueSchema = z.object({
  queue_running: z.array(z.unknown()).transform((items) => items.map(toPrompt)),
  queue_pending: z.array(z.unknown()).transform((items) => items.map(toPrompt)),
});

/** By prompt id. */
export const historySchema = z
  .record(z.string(), z.unknown())
  .transform((entries) => Object.entries(entries).flatMap(([id, entry]) => toEntry(id, entry) ?? []));

const object = z.record(z.string(), z.unknown());
const list = z.array(z.unknown());
const path = z.string().refine(isPath);
const outputFile = z.object({
  filename: path,
  subfolder: z
    .string()
    .catch("")
    .pipe(z.union([z.literal(""), path])),
  type: z.string().catch("output").pipe(path),
});
const executionError = z.object({
  node_id: z.coerce.string().optional().catch(undefined),
  node_type: z.string().optional().catch(undefined),
  exception_message: z.string().catch(""),
});

/** An item of the queue is `[number, id, graph, …]`, and so is the prompt of an entry. */
function toPrompt(item: unknown): QueuedPrompt {
  const [, id, graph] = list.safeParse(item).data ?? [];
  return { id: typeof id === "string" ? id : "", graph };
}

function toEntry(id: string, value: unknown): HistoryEntry | undefined {
  const entry = object.safeParse(value).data;
  if (entry === undefined) return undefined;
  const { graph } = toPrompt(entry.prompt);
  const known = { id, graph, files: filesOf(entry.outputs) };
  const status = object.safeParse(entry.status).data ?? {};
  // Without a status, what there is of it tells: files, or none.
  if (typeof status.status_str !== "string" || status.status_str === "success") return { ...known, state: "success" };
  const messages = (list.safeParse(status.messages).data ?? []).map((message) => list.safeParse(message).data ?? []);
  const [name, data] = messages.at(-1) ?? [];
  if (name === "execution_interrupted") return { ...known, state: "interrupted" };
  const failed = messages.find(([type]) => type === "execution_error");
  return { ...known, state: "failed", error: describeFailure(failed?.[1] ?? data) };
}

function filesOf(outputs: unknown): OutputFile[] {
  return Object.values(object.safeParse(outputs).data ?? {}).flatMap((output) => {
    const { gifs, videos } = object.safeParse(output).data ?? {};
    const found = [gifs, videos].flatMap((files) => list.safeParse(files).data ?? []);
    return found.flatMap((file) => outputFile.safeParse(file).data ?? []);
  });
}

/** Node and cause; never the traceback, nor the inputs, which hold the caller's data. */
function describeFailure(data: unknown): string {
  const { node_id: id, node_type: type, exception_message: message } = executionError.safeParse(data).data ?? {};
  const where = type === undefined ? "" : ` in ${type}${id === undefined ? "" : ` (node ${id})`}`;
  const why = message?.trim().split("\n")[0] ?? "";
  return `ComfyUI failed${where}: ${why === "" ? "no reason given" : oneLine(why)}`;
}
