import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { z } from "zod";
import { oneLine } from "../lib/text.ts";
import { jsonOf, limitEach, readText } from "./answers.ts";
import { keyRefused, ModelAborted, ModelFailure, reasonOf } from "./modelCall.ts";
import { nodeFetch } from "./nodeFetch.ts";

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

/** Ollama's own words, whichever way they come. */
const errorText = z
  .union([
    z.null().transform(() => undefined),
    z.string(),
    z.object({ message: z.string() }).transform(({ message }) => message),
    z.unknown().transform((error) => JSON.stringify(error)),
  ])
  .optional();
/** Newer servers say more, such as what the model thinks; of what is known here, nothing else is looked at. */
const pieceSchema = z.object({
  response: z.string().catch(""),
  done: z.boolean().catch(false),
  error: errorText,
});
const pullSchema = z.object({
  status: z.string().catch(""),
  total: z.number().optional().catch(undefined),
  completed: z.number().optional().catch(undefined),
  error: errorText,
});
const errorSchema = z.object({ error: errorText });
const BUSY = 503;
/** Letters of an answer. The longest context that there is holds less. */
const MAX_TEXT = 4 * 1024 * 1024;

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
    if (text.length > MAX_TEXT) throw new ModelFailure("failed", "the model does not come to an end of its answer");
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
    // A model that has to be loaded first, or a queue, is minutes of silence: nothing but `signal` bounds it. Whoever asks
    // again stands at the end of the queue.
    const response = await nodeFetch(`${baseUrl}${path}`, apiKey, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal,
    });
    if (!response.ok) throw refusalOf(response.status, await readText(response));
    if (response.body === null) return;
    yield* parsed(Readable.fromWeb(response.body.pipeThrough(limitEach("line"))), schema);
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
      if (line.trim() === "") continue;
      const value = jsonOf(line);
      if (value === undefined) throw new ModelFailure("transport", "the model's server said something strange");
      const known = schema.safeParse(value);
      if (known.success) yield known.data;
    }
  } finally {
    body.destroy();
  }
}

function refusalOf(status: number, text: string): Error {
  if (status === 401 || status === 403) return keyRefused(status);
  const { error } = errorSchema.safeParse(jsonOf(text)).data ?? {};
  if (status === 404 && error !== undefined) return new ModelMissing(error);
  if (error === undefined || status === BUSY || status === 429) {
    return new ModelFailure(
      "transport",
      `the model answered ${status}${error === undefined ? "" : `: ${oneLine(error)}`}`,
    );
  }
  return new ModelFailure(status < 500 ? "refused" : "failed", `the model failed: ${error}`);
}
