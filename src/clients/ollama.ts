import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { z } from "zod";
import { ModelAborted, ModelFailure, reasonOf } from "./modelCall.ts";

/** The Ollama server of a node. https://github.com/ollama/ollama/blob/main/docs/api.md */
export interface OllamaNode {
  /** Without a trailing slash. */
  baseUrl: string;
  apiKey: string;
  /** Closing the connection is how Ollama is told to stop. */
  signal: AbortSignal;
}

export interface Question {
  model: string;
  prompt: string;
  /** Base64. */
  image: string;
  /** @param text what has come so far */
  onText: (text: string) => void;
}

/** The node does not have the model. */
export class ModelMissing extends Error {
  override name = "ModelMissing";
}

const pieceSchema = z.object({
  response: z.string().default(""),
  done: z.boolean().default(false),
  error: z.string().optional(),
});
const pullSchema = z.object({
  status: z.string().default(""),
  total: z.number().optional(),
  completed: z.number().optional(),
  error: z.string().optional(),
});
const errorSchema = z.object({ error: z.string() });
const BUSY = 503;

/**
 * Asks a vision model about a picture.
 * @returns the whole answer
 * @throws ModelMissing, ModelFailure, ModelAborted
 */
export async function generate(node: OllamaNode, { model, prompt, image, onText }: Question): Promise<string> {
  let text = "";
  const body = { model, prompt, images: [image], stream: true };
  for await (const { response, done, error } of lines(node, "/api/generate", body, pieceSchema)) {
    if (error !== undefined) throw new ModelFailure("failed", `the model failed: ${error}`);
    text += response;
    onText(text);
    if (done) return text.trim();
  }
  throw new ModelFailure("transport", "the model's answer broke off");
}

/**
 * Lets the node download a model.
 * @throws ModelFailure, ModelAborted
 */
export async function pull(node: OllamaNode, model: string, onProgress: (done: number) => void): Promise<void> {
  for await (const { status, total, completed, error } of lines(node, "/api/pull", { model }, pullSchema)) {
    if (error !== undefined) throw new ModelFailure("failed", `the model ${model} could not be pulled: ${error}`);
    if (total !== undefined && total > 0) onProgress((completed ?? 0) / total);
    if (status === "success") return;
  }
  throw new ModelFailure("transport", `the download of the model ${model} broke off`);
}

async function* lines<T>(node: OllamaNode, path: string, body: object, schema: z.ZodType<T>): AsyncGenerator<T> {
  const { baseUrl, apiKey, signal } = node;
  try {
    const response = await fetch(`${baseUrl}${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-C3-API-KEY": apiKey },
      body: JSON.stringify(body),
      redirect: "error",
      signal,
    });
    if (!response.ok) throw refusalOf(response.status, await response.text());
    if (response.body === null) return;
    yield* parsed(Readable.fromWeb(response.body), schema);
  } catch (error) {
    if (signal.aborted) throw new ModelAborted(true, { cause: error });
    if (error instanceof ModelFailure || error instanceof ModelMissing) throw error;
    throw new ModelFailure("transport", `the model could not be reached: ${reasonOf(error)}`, { cause: error });
  }
}

/** Ends with the connection, whichever way it is left. */
async function* parsed<T>(body: Readable, schema: z.ZodType<T>): AsyncGenerator<T> {
  const reader = createInterface({ input: body });
  // What goes wrong after the last line that was wanted would otherwise end the process.
  reader.on("error", () => undefined);
  try {
    for await (const line of reader) {
      if (line.trim() !== "") yield schema.parse(JSON.parse(line));
    }
  } finally {
    body.destroy();
  }
}

function refusalOf(status: number, text: string): Error {
  const { error } = errorSchema.safeParse(jsonOf(text)).data ?? {};
  if (status === 404 && error !== undefined) return new ModelMissing(error);
  if (error === undefined || status === BUSY || status === 429) {
    return new ModelFailure("transport", `the model answered ${status}${error === undefined ? "" : `: ${error}`}`);
  }
  return new ModelFailure(status < 500 ? "refused" : "failed", `the model failed: ${error}`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
