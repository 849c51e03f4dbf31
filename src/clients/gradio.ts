import { GuardedGradioClient, type StreamListener } from "./gradioClient.ts";

/** What a call of a Gradio app came to. */
export type GradioFailureKind =
  /** The app refused its arguments before it ran. */
  | "refused"
  /** The app ran and failed. */
  | "failed"
  /** The app could not be asked, or its answer was lost; asking again can help. */
  | "transport";

/** A call that did not succeed; the message is a sentence for people. */
export class GradioFailure extends Error {
  override name = "GradioFailure";
  readonly kind: GradioFailureKind;
  constructor(kind: GradioFailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** A call that was given up because its signal said so. */
export class GradioAborted extends Error {
  override name = "GradioAborted";
  /** Nothing of the call runs on the node any more. */
  readonly nodeIdle: boolean;
  constructor(nodeIdle: boolean, options?: ErrorOptions) {
    super("the call was given up", options);
    this.nodeIdle = nodeIdle;
  }
}

export interface GradioCall {
  /** The app, with a trailing slash: `https://<node>/csm/`. */
  appUrl: string;
  apiKey: string;
  /** The function's name: `/generate_monologue_audio`. */
  endpoint: string;
  /** By parameter name. */
  parameters: Record<string, unknown>;
  /** By parameter name; sent before the call. */
  files?: Record<string, File>;
  onProgress?: (progress: number | null, detail: string) => void;
  signal: AbortSignal;
  /** How long a run may go on after `signal`, so that it can be seen to end. */
  settleMs: number;
}

const CONNECT_TIMEOUT_MS = 30_000;
/** The words of Gradio's own checks of sliders, choices and lengths. */
const REFUSALS = /^Value[: ].*(is (greater|less) than|is not in the list|must be)/;

/**
 * Calls a function of a Gradio app and waits for its result, however long it takes.
 *
 * Gradio cannot stop a function that runs: a cancel frees its place in the queue while it goes on. So a call
 * that is given up keeps listening until the run ends, for at most `settleMs`.
 *
 * @returns the values of the function; files as `{ path, … }`, see `gradioFileUrl`
 * @throws GradioFailure, GradioAborted
 */
export async function callGradio(call: GradioCall): Promise<unknown[]> {
  call.signal.throwIfAborted();
  const client = await connect(call);
  const outcome = listen(client, call);
  try {
    const uploaded = await upload(client, call);
    if (call.signal.aborted) throw new GradioAborted(true);
    const job = submit(client, call, uploaded);
    void reportLostCall(job, outcome);
    outcome.cancelWith(async () => {
      // Only a call that the node has taken can be cancelled there.
      await job.wait_for_id();
      await job.cancel();
    });
    return await outcome.result;
  } finally {
    outcome.stop();
    client.close();
  }
}

/** Where a file that a function returned can be fetched, with the API key; built from its path, never from its `url`. */
export function gradioFileUrl(appUrl: string, path: string): string {
  return `${appUrl}gradio_api/file=${encodeURI(path)}`;
}

async function connect({ appUrl, apiKey, signal }: GradioCall): Promise<GuardedGradioClient> {
  const connecting = GuardedGradioClient.connect(appUrl, {
    headers: { "X-C3-API-KEY": apiKey },
    events: ["status", "data"],
  });
  try {
    const client = await withinTime(connecting, CONNECT_TIMEOUT_MS, signal);
    if (client instanceof GuardedGradioClient) return client;
    throw new TypeError("the client is not the guarded one");
  } catch (error) {
    if (signal.aborted) throw new GradioAborted(true);
    throw transportFailure("the app could not be reached", error);
  }
}

/** Throws at once when the app could not be described; everything later arrives as an event. */
function submit(client: GuardedGradioClient, { endpoint, parameters }: GradioCall, uploaded: Record<string, object>) {
  try {
    return client.submit(endpoint, { ...parameters, ...uploaded });
  } catch (error) {
    throw transportFailure("the app did not take the call", error);
  }
}

/** A failed upload is silent in the library, and the app then goes on without the file. */
async function upload(
  client: GuardedGradioClient,
  { appUrl, files = {} }: GradioCall,
): Promise<Record<string, object>> {
  const uploaded: Record<string, object> = {};
  for (const [name, file] of Object.entries(files)) {
    const { error, files: [path] = [] } = await client.upload_files(appUrl.replace(/\/$/, ""), [file]);
    if (path === undefined) throw transportFailure(`the node did not take ${file.name}`, error);
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
    settling = setTimeout(() => reject(new GradioAborted(false)), settleMs);
    if (started) return;
    // What still waits in the node's queue can be taken out of it.
    cancelled = true;
    cancel().catch((error: unknown) => reject(new GradioAborted(false, { cause: error })));
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
      if (signal.aborted) reject(new GradioAborted(!(cancelled && started)));
      else if (error === undefined) resolve(data);
      else reject(failureOf(error));
    },
    broken(reason) {
      if (signal.aborted) reject(new GradioAborted(cancelled && !started));
      else reject(new GradioFailure("transport", `the connection to the model was lost: ${reason}`));
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
async function reportLostCall(job: AsyncIterable<{ type: string }>, { reject }: Outcome): Promise<void> {
  for await (const event of job) {
    if (event.type !== "status" || !("stage" in event) || event.stage !== "error") continue;
    if ("original_msg" in event) continue;
    const message = "message" in event && typeof event.message === "string" ? event.message : "no reason given";
    // A failure that the stream told came first, and wins.
    reject(new GradioFailure("transport", `the app did not take the call: ${message}`));
  }
}

function failureOf(error: string | null): GradioFailure {
  if (error === null || error === "") return new GradioFailure("failed", "the model failed without a reason");
  return new GradioFailure(REFUSALS.test(error) ? "refused" : "failed", error.trim());
}

function transportFailure(what: string, cause: unknown): GradioFailure {
  const reason = cause instanceof Error ? cause.message : cause === undefined ? "no reason given" : String(cause);
  return new GradioFailure("transport", `${what}: ${reason}`, { cause });
}

async function withinTime<T>(work: Promise<T>, timeoutMs: number, signal: AbortSignal): Promise<T> {
  const { promise, reject } = promiseWithResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
  const abort = () => reject(new Error("given up"));
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
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
