import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { isPath, oneLine } from "../lib/text.ts";
import { orAborted, withinTime } from "../lib/timeLimit.ts";
import { GuardedGradioClient, type StreamListener } from "./gradioClient.ts";
import { keyRefused, ModelAborted, ModelFailure, type OnProgress, reasonOf } from "./modelCall.ts";

export interface GradioCall {
  /** The app, with a trailing slash: `https://<node>/csm/`. */
  appUrl: string;
  apiKey: string;
  /** The function's name: `/generate_monologue_audio`. */
  endpoint: string;
  /** @param accepted the names that the app's own description gives its parameters */
  arguments: (accepted: ReadonlySet<string>) => GradioArguments;
  onProgress?: OnProgress;
  signal: AbortSignal;
  /** How long a run may go on after `signal`, so that it can be seen to end. */
  settleMs: number;
}

/** By parameter name. */
export interface GradioArguments {
  parameters: Record<string, unknown>;
  /** Sent before the call. */
  files?: Record<string, File>;
}

const CONNECT_TIMEOUT_MS = 30_000;
/** Between two tries to join a queue that is full. */
const FULL_QUEUE_MS = 500;
const LONGEST_FULL_QUEUE_MS = 5000;
const infoSchema = z.object({
  named_endpoints: z.record(z.string(), z.object({ parameters: z.array(z.object({ parameter_name: z.string() })) })),
});
/** The words of Gradio's own checks of sliders, choices and lengths. */
const REFUSALS = /^Value[: ].*(is (greater|less) than|is not in the list|must be)/;

/** A file that a function returned. */
export const gradioFile = z.object({ path: z.string().refine(isPath), orig_name: z.string().nullish() });

/** What a function returned. */
export interface GradioResult {
  /** Files as `{ path, … }`. */
  values: unknown[];
  /** Where a file of that path can be fetched, with the API key. */
  fileUrl(path: string): string;
}

/**
 * Calls a function of a Gradio app and waits for its result, however long it takes. A queue that is full is waited for.
 *
 * Gradio cannot stop a function that runs: a cancel frees its place in the queue while it goes on. So a call
 * that is given up keeps listening until the run ends, for at most `settleMs`.
 *
 * @throws ModelFailure, ModelAborted
 */
export async function callGradio(call: GradioCall): Promise<GradioResult> {
  const { signal, onProgress } = call;
  signal.throwIfAborted();
  for (let waitMs = FULL_QUEUE_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_FULL_QUEUE_MS)) {
    const result = await callOnce(call);
    if (result !== undefined) return result;
    onProgress?.(null, "waiting, the node's queue is full");
    await delay(waitMs, undefined, { signal }).catch((error: unknown) => {
      throw new ModelAborted(true, { cause: error });
    });
  }
}

/** @returns undefined when the node's queue was full */
async function callOnce(call: GradioCall): Promise<GradioResult | undefined> {
  const client = await connect(call);
  const outcome = listen(client, call);
  const abandon = () => client.close();
  try {
    const { parameters, files = {} } = call.arguments(await describe(client, call));
    // An upload that nobody wants any more is not waited for.
    call.signal.addEventListener("abort", abandon, { once: true });
    const uploaded = await upload(client, call, files);
    call.signal.removeEventListener("abort", abandon);
    if (call.signal.aborted) throw new ModelAborted(true);
    const job = submit(client, call, { ...parameters, ...uploaded });
    void reportLostCall(job, client, outcome);
    outcome.cancelWith(async () => {
      // Only a call that the node has taken can be cancelled there.
      await job.wait_for_id();
      await job.cancel();
    });
    const values = await outcome.result;
    return { values, fileUrl: (path) => client.fileUrl(path) };
  } catch (error) {
    if (error instanceof QueueFull) return undefined;
    throw error;
  } finally {
    call.signal.removeEventListener("abort", abandon);
    outcome.stop();
    client.close();
  }
}

class QueueFull extends Error {
  override name = "QueueFull";
}

async function connect({ appUrl, apiKey, signal }: GradioCall): Promise<GuardedGradioClient> {
  const connecting = GuardedGradioClient.connect(appUrl, {
    headers: { "X-C3-API-KEY": apiKey },
    events: ["status", "data"],
  });
  try {
    const client = await withinTime(orAborted(connecting, signal), CONNECT_TIMEOUT_MS);
    if (client instanceof GuardedGradioClient) return client;
    throw new TypeError("the client is not the guarded one");
  } catch (error) {
    if (signal.aborted) throw new ModelAborted(true);
    throw transportFailure("the app could not be reached", error);
  }
}

/** The names of the function's parameters; they differ between builds of an app. */
async function describe(client: GuardedGradioClient, { endpoint, signal }: GradioCall): Promise<ReadonlySet<string>> {
  try {
    const info = infoSchema.parse(await withinTime(orAborted(client.view_api(), signal), CONNECT_TIMEOUT_MS));
    const parameters = info.named_endpoints[endpoint]?.parameters;
    if (parameters === undefined) throw new Error(`it has no function ${endpoint}`);
    return new Set(parameters.map((parameter) => parameter.parameter_name));
  } catch (error) {
    if (signal.aborted) throw new ModelAborted(true);
    throw transportFailure("the app did not describe itself", error);
  }
}

/** Throws at once when the app could not be described; everything later arrives as an event. */
function submit(client: GuardedGradioClient, { endpoint }: GradioCall, parameters: Record<string, unknown>) {
  try {
    return client.submit(endpoint, parameters);
  } catch (error) {
    throw transportFailure("the app did not take the call", error);
  }
}

/** A failed upload is silent in the library, and the app then goes on without the file. */
async function upload(
  client: GuardedGradioClient,
  { appUrl, signal }: GradioCall,
  files: Record<string, File>,
): Promise<Record<string, object>> {
  const uploaded: Record<string, object> = {};
  for (const [name, file] of Object.entries(files)) {
    const sent = await client.upload_files(appUrl.replace(/\/$/, ""), [file]).catch((error: unknown) => {
      throw signal.aborted ? new ModelAborted(true) : transportFailure(`${file.name} could not be sent`, error);
    });
    const { error, files: [path] = [] } = sent;
    const status = Number(/^HTTP (\d+)/.exec(error ?? "")?.[1]);
    if (status === 401) throw keyRefused(status);
    if (status === 413) throw new ModelFailure("refused", `${file.name} is too large for the node`);
    if (path === undefined) throw transportFailure(`the node did not take ${file.name}`, oneLine(error ?? "no reason"));
    uploaded[name] = { path, orig_name: file.name, meta: { _type: "gradio.FileData" } };
  }
  return uploaded;
}

interface Outcome {
  result: Promise<unknown[]>;
  reject: (error: Error) => void;
  /** From now on the call is on its way, and giving up takes more than not making it. */
  cancelWith: (cancel: () => Promise<void>) => void;
  stop: () => void;
}

function listen(client: GuardedGradioClient, { signal, settleMs, onProgress }: GradioCall): Outcome {
  const { promise, resolve, reject } = promiseWithResolvers<unknown[]>();
  // A failure before anybody waits for it is reported by whoever waits later.
  promise.catch(() => undefined);
  let started = false;
  let cancelled = false;
  let cancel: (() => Promise<void>) | undefined;
  let settling: NodeJS.Timeout | undefined;

  const giveUp = () => {
    if (cancel === undefined) return;
    settling = setTimeout(() => reject(new ModelAborted(false)), settleMs);
    if (started) return;
    // What still waits in the node's queue can be taken out of it.
    cancelled = true;
    cancel().catch((error: unknown) => reject(new ModelAborted(false, { cause: error })));
  };
  const listener: StreamListener = {
    queued: (rank) => onProgress?.(null, `waiting in the node's queue, ${rank} before it`),
    started() {
      started = true;
      onProgress?.(0, "running");
    },
    progressed: (progress, description) => onProgress?.(progress, description),
    completed(data, error) {
      // A run that started while it was being cancelled goes on, although its place in the queue is free.
      if (signal.aborted) reject(new ModelAborted(!(cancelled && started)));
      else if (error === undefined) resolve(data);
      else reject(failureOf(error));
    },
    broken(reason) {
      if (signal.aborted) reject(new ModelAborted(cancelled && !started));
      else reject(new ModelFailure("transport", `the connection to the model was lost: ${reason}`));
    },
  };
  client.listener = listener;
  signal.addEventListener("abort", giveUp, { once: true });
  return {
    result: promise,
    reject,
    cancelWith(taken) {
      cancel = taken;
      if (signal.aborted) giveUp();
    },
    stop() {
      clearTimeout(settling);
      signal.removeEventListener("abort", giveUp);
    },
  };
}

/** What goes wrong before there is an event stream, such as a full queue, is told by the call alone. */
async function reportLostCall(
  job: AsyncIterable<{ type: string }>,
  client: GuardedGradioClient,
  { reject }: Outcome,
): Promise<void> {
  for await (const event of job) {
    if (event.type !== "status" || !("stage" in event) || event.stage !== "error") continue;
    const message = "message" in event && typeof event.message === "string" ? event.message : "no reason given";
    // A failure that the stream told came first, and wins.
    reject(refusalOf(client.joinStatus, message));
  }
}

/** @param status of the app's answer; undefined: the app did not answer */
function refusalOf(status: number | undefined, message: string): Error {
  const sentence = `the app did not take the call: ${oneLine(message)}`;
  if (status === 503) return new QueueFull();
  if (status === 401 || status === 403) return keyRefused(status);
  return new ModelFailure(status === 400 || status === 413 || status === 422 ? "refused" : "transport", sentence);
}

function failureOf(error: string | null): ModelFailure {
  const text = unquoted((error ?? "").trim());
  if (text === "") return new ModelFailure("failed", "the model failed without a reason");
  return REFUSALS.test(text) ? new ModelFailure("refused", oneLine(text)) : new ModelFailure("failed", text);
}

/** Gradio 4 tells what an app raised as Python writes it down (`repr`): in quotes, with escapes. */
function unquoted(text: string): string {
  const [, quote, inner] = /^(['"])([\s\S]*)\1$/.exec(text) ?? [];
  if (quote === undefined || inner === undefined) return text;
  return inner.replaceAll(/\\([\s\S])/g, (_, sign: string) => escapes[sign] ?? sign);
}

const escapes: Record<string, string> = { n: "\n", t: "\t", r: "\r" };

function transportFailure(what: string, cause: unknown): ModelFailure {
  return new ModelFailure("transport", `${what}: ${reasonOf(cause)}`, { cause });
}

function promiseWithResolvers<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
