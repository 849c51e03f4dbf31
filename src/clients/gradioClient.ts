import { Client } from "@gradio/client";
import { events } from "fetch-event-stream";
import { z } from "zod";
import { oneLine } from "../lib/text.ts";
import { timeLimit } from "../lib/timeLimit.ts";
import { jsonOf, limitEach } from "./answers.ts";
import { reasonOf } from "./modelCall.ts";
import { nodeFetch } from "./nodeFetch.ts";

/** A transcript of hours is a twentieth of it; whoever reads the stream takes long over what is larger. */
const MAX_EVENT_BYTES = 8 * 1024 * 1024;
/** A process that was paused itself, for however long, has one look fewer, and then reads what came meanwhile. */
const SILENCE_LOOK_MS = 15_000;
const SILENT_LOOKS = 4;
/** Of every request but the event stream and uploads, which take as long as the file is long. */
const REQUEST_TIMEOUT_MS = 120_000;

const completedSchema = z.object({ success: z.boolean(), output: z.looseObject({ error: z.string().nullish() }) });
const messageSchema = z.looseObject({ msg: z.string(), event_id: z.string().nullish() });
const estimationSchema = z.object({ rank: z.number() });
const progressSchema = z.object({
  progress_data: z.array(
    z.object({
      index: z.number().nullish(),
      length: z.number().nullish(),
      progress: z.number().nullish(),
      desc: z.string().nullish(),
    }),
  ),
});

/** What the event stream of one call says. */
export interface StreamListener {
  /** 0 is next. */
  queued(rank: number): void;
  started(): void;
  /** @param progress 0–1, or null when the app does not say */
  progressed(progress: number | null, description: string): void;
  /** @param error undefined on success; null when the app raised something that it did not mean to tell */
  completed(data: unknown[], error: string | null | undefined): void;
  /** The stream ended, or could not be had, before that. */
  broken(reason: string): void;
}

/**
 * `@gradio/client`, kept from what it does in trouble. It believes the server's own word for where the server
 * is, and would send the API key there; a server behind a proxy that cuts its path off or ends TLS does not know. The
 * app is where its caller found it, and every request goes to the node's host or nowhere. It has no timeouts.
 * A stream that ends without `close_stream` would hang the call for ever, and what it makes of a cancel is an
 * exception: the stream is read here, and the library hears nothing of it. One client serves one call.
 */
export class GuardedGradioClient extends Client {
  listener: StreamListener | undefined;
  /** How the app itself answered the last call: 503 says that its queue is full. Undefined: somebody else answered. */
  joinStatus: number | undefined;
  readonly #closed = new AbortController();

  override async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const request = new Request(input, init);
    this.#checkHost(request.url);
    const { pathname } = new URL(request.url);
    const headers = new Headers(request.headers);
    for (const [name, value] of new Headers(this.options.headers ?? {})) headers.set(name, value);
    const life = this.#closed.signal;
    const signal = pathname.endsWith("/upload") ? life : timeLimit(REQUEST_TIMEOUT_MS, life);
    const response = limited(await fetch(request, { headers, signal, redirect: "error" }));
    // The error page of a proxy in between is no word of the app.
    const isApp = response.headers.get("content-type")?.startsWith("application/json") ?? false;
    if (pathname.endsWith("/queue/join")) this.joinStatus = isApp ? response.status : undefined;
    return isApp && response.ok && pathname.endsWith("/config") ? await this.#rooted(response) : response;
  }

  /** The app's configuration, with the place where it was found as its root. */
  async #rooted(response: Response): Promise<Response> {
    const config = z.looseObject({}).parse(await response.json());
    return Response.json({ ...config, root: this.#root() });
  }

  #root(): string {
    return this.app_reference.replace(/\/$/, "");
  }

  /**
   * An app that keeps session state announces `connect_heartbeat`, and the library opens that stream through here,
   * too. Its end is how the app learns that a session is over, and may throw away what belongs to it. It is not
   * opened: the files of a run are fetched after the run.
   */
  override stream(url: URL): EventSource {
    const isHeartbeat = url.pathname.includes("/heartbeat/");
    if (!isHeartbeat) void this.#read(url);
    return new SilentSource(url.toString());
  }

  /** Ends every request that is under way. */
  override close(): void {
    super.close();
    this.#closed.abort();
  }

  /** Where a file that a function returned can be fetched: built from its path, never from its `url`. */
  fileUrl(path: string): string {
    const encoded = path.split("/").map(encodeURIComponent).join("/");
    return `${this.#root()}${this.api_prefix}/file=${encoded}`;
  }

  async #read(url: URL): Promise<void> {
    const silent = new AbortController();
    const signal = AbortSignal.any([silent.signal, this.#closed.signal]);
    let silentLooks = 0;
    const silence = setInterval(() => {
      silentLooks += 1;
      if (silentLooks === SILENT_LOOKS) silent.abort();
    }, SILENCE_LOOK_MS);
    let closed = false;
    try {
      this.#checkHost(url.toString());
      const key = new Headers(this.options.headers ?? {}).get("x-c3-api-key") ?? "";
      const open = () => nodeFetch(url.toString(), key, { signal });
      // The connection may be an older one that its other end has closed meanwhile.
      const { ok, status, body } = await open().catch(open);
      if (!ok) throw new Error(`the event stream answered ${status}`);
      for await (const { data } of events(
        new Response(body?.pipeThrough(limitEach("event", MAX_EVENT_BYTES))),
        signal,
      )) {
        silentLooks = 0;
        if (data !== undefined) closed = this.#observe(data) || closed;
        if (closed) break;
      }
      if (!closed) this.listener?.broken("the event stream ended early");
    } catch (error) {
      const reason = silent.signal.aborted ? "the event stream fell silent" : reasonOf(error);
      if (!closed && !this.#closed.signal.aborted) this.listener?.broken(reason);
    } finally {
      clearInterval(silence);
    }
  }

  /** @returns whether this was the last message */
  #observe(data: string): boolean {
    const message = messageSchema.safeParse(jsonOf(data)).data;
    // Newer servers say more than this client knows.
    switch (message?.msg) {
      case "estimation":
        this.listener?.queued(estimationSchema.safeParse(message).data?.rank ?? 0);
        break;
      case "process_starts":
        this.listener?.started();
        break;
      case "progress": {
        const [step] = progressSchema.safeParse(message).data?.progress_data ?? [];
        const fraction = step?.index != null && step.length ? step.index / step.length : null;
        this.listener?.progressed(step?.progress ?? fraction, oneLine(step?.desc ?? "running"));
        break;
      }
      case "process_completed": {
        const { success = false, output = {} } = completedSchema.safeParse(message).data ?? {};
        if (!success) this.listener?.completed([], output.error ?? null);
        else if (Array.isArray(output.data)) this.listener?.completed(output.data, undefined);
        else this.listener?.broken("the run was taken out of the node's queue");
        break;
      }
      case "unexpected_error":
        this.listener?.broken(`the node says: ${oneLine(String(message.message))}`);
        break;
      case "close_stream":
        return true;
    }
    return false;
  }

  #checkHost(url: string): void {
    const wanted = new URL(this.app_reference).host;
    const { host } = new URL(url);
    if (host !== wanted) throw new Error(`the app at ${wanted} announced another host, ${host}`);
  }
}

/** The same answer, of which no more is read than anybody honest would send. */
function limited(response: Response): Response {
  if (response.body === null) return response;
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(limitEach("answer")), { status, statusText, headers });
}

/** What the library is given instead of an event stream: it is open, and says nothing. */
class SilentSource extends EventTarget implements EventSource {
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSED = 2;
  readonly readyState = 1;
  readonly withCredentials = false;
  readonly url: string;
  onerror: EventSource["onerror"] = () => {};
  onmessage: EventSource["onmessage"] = () => {};
  onopen: EventSource["onopen"] = () => {};

  constructor(url: string) {
    super();
    this.url = url;
  }

  close(): void {}
}
