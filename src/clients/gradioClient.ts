import { Client } from "@gradio/client";
import { events } from "fetch-event-stream";
import { z } from "zod";
import { timeLimit } from "../timeLimit.ts";

const HEARTBEAT_GRACE_MS = 60_000;
/** Of every request but the event stream. */
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
 * is, and would send the API key there: every request goes to the node's host or nowhere. It has no timeouts.
 * A stream that ends without `close_stream` would hang the call for ever: the stream is read here, and its
 * end is reported. One client serves one call.
 */
export class GuardedGradioClient extends Client {
  listener: StreamListener | undefined;

  override async fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const request = new Request(input, init);
    this.#checkHost(request.url);
    const headers = new Headers(request.headers);
    for (const [name, value] of new Headers(this.options.headers ?? {})) headers.set(name, value);
    const signal = timeLimit(REQUEST_TIMEOUT_MS, init.signal);
    return await fetch(request, { headers, signal, redirect: "error" });
  }

  override stream(url: URL): EventSource {
    const source = new StreamSource(url.toString());
    const controller = new AbortController();
    this.abort_controller = controller;
    source.onclose = () => controller.abort();
    void this.#read(url, source, controller);
    return source;
  }

  async #read(url: URL, source: StreamSource, controller: AbortController): Promise<void> {
    let closed = false;
    try {
      this.#checkHost(url.toString());
      const headers = new Headers(this.options.headers ?? {});
      const response = await fetch(url, { headers, signal: controller.signal, redirect: "error" });
      if (!response.ok) throw new Error(`the event stream answered ${response.status}`);
      const silence = setTimeout(() => controller.abort(), HEARTBEAT_GRACE_MS);
      try {
        for await (const { data } of events(response, controller.signal)) {
          silence.refresh();
          if (data === undefined) continue;
          closed = this.#observe(data) || closed;
          source.onmessage(new MessageEvent("message", { data }));
        }
      } finally {
        clearTimeout(silence);
      }
      if (!closed) this.listener?.broken("the event stream ended early");
    } catch (error) {
      if (!closed) this.listener?.broken(error instanceof Error ? error.message : String(error));
    }
  }

  /** @returns whether this was the last message */
  #observe(data: string): boolean {
    const message = messageSchema.parse(JSON.parse(data));
    switch (message.msg) {
      case "estimation":
        this.listener?.queued(estimationSchema.safeParse(message).data?.rank ?? 0);
        break;
      case "process_starts":
        this.listener?.started();
        break;
      case "progress": {
        const [step] = progressSchema.safeParse(message).data?.progress_data ?? [];
        const fraction = step?.index != null && step.length ? step.index / step.length : null;
        this.listener?.progressed(step?.progress ?? fraction, step?.desc ?? "running");
        break;
      }
      case "process_completed": {
        const { success, output } = completedSchema.parse(message);
        const values = Array.isArray(output.data) ? output.data : [];
        this.listener?.completed(values, success ? undefined : (output.error ?? null));
        break;
      }
      case "unexpected_error":
        this.listener?.broken(`the node says: ${String(message.message)}`);
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

/** As much of an `EventSource` as the client uses. */
class StreamSource extends EventTarget implements EventSource {
  readonly CONNECTING = 0;
  readonly OPEN = 1;
  readonly CLOSED = 2;
  readonly readyState = 1;
  readonly withCredentials = false;
  readonly url: string;
  onerror: EventSource["onerror"] = () => {};
  onmessage: EventSource["onmessage"] = () => {};
  onopen: EventSource["onopen"] = () => {};
  onclose: (() => void) | undefined;

  constructor(url: string) {
    super();
    this.url = url;
  }

  close(): void {
    this.onclose?.();
  }
}
