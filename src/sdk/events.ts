import { setTimeout as delay } from "node:timers/promises";
import { events } from "fetch-event-stream";
import { z } from "zod";
import { jobStates } from "../jobs/states.ts";
import { isPassing, type OnRetry, retryWaitMs } from "./retries.ts";

const status = z.enum(jobStates);
const eventSchema = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("status"),
    data: z.object({ id: z.string(), status, at: z.string(), event: z.string(), stage: z.string().optional() }),
  }),
  z.object({ event: z.literal("progress"), data: z.object({ id: z.string(), progress: z.number() }) }),
  z.object({ event: z.literal("end"), data: z.object({ id: z.string(), status, error: z.string().optional() }) }),
]);

/** What happens to a job, as the API's stream tells it. */
export type JobEvent = z.output<typeof eventSchema>;

/** The API sends a comment every 15 seconds. */
const SILENT_MS = 45_000;

/**
 * The events of a job up to its end, through lost connections and restarts of the API: each connection goes on after the last
 * event that was read.
 * @param open asks for the stream; 204 means that there is nothing more to come
 */
export async function* readEvents(
  open: (lastEventId: string | undefined, signal: AbortSignal) => Promise<Response>,
  { signal, onRetry }: { signal?: AbortSignal | undefined; onRetry?: OnRetry | undefined },
): AsyncGenerator<JobEvent, void> {
  let lastEventId: string | undefined;
  for (let failures = 1; ; failures += 1) {
    let failure: unknown = new Error("the stream of events broke off");
    try {
      for await (const message of connect((limit) => open(lastEventId, limit), signal)) {
        if (message === "nothing more") return;
        failures = 0;
        lastEventId = message.id === undefined ? lastEventId : String(message.id);
        // Kinds of events that are added later are not for this client.
        const event = eventSchema.safeParse({ event: message.event, data: JSON.parse(message.data ?? "null") });
        if (!event.success) continue;
        yield event.data;
        if (event.data.event === "end") return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPassing(error, true)) throw error;
      failure = error;
    }
    signal?.throwIfAborted();
    const waitMs = retryWaitMs(failure, Math.max(failures, 1));
    onRetry?.(failure, waitMs);
    await delay(waitMs, undefined, { signal });
  }
}

/** One connection. It ends when the API closes it, and fails when nothing comes any more. */
async function* connect(open: (signal: AbortSignal) => Promise<Response>, signal: AbortSignal | undefined) {
  const silence = new AbortController();
  const timer = setTimeout(
    () => silence.abort(new DOMException("no events, and no sign of life", "TimeoutError")),
    SILENT_MS,
  );
  const limit = signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal]);
  try {
    const response = await open(limit);
    if (response.status === 204 || response.body === null) {
      yield "nothing more" as const;
      return;
    }
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        timer.refresh();
        controller.enqueue(chunk);
      },
    });
    yield* events(new Response(response.body.pipeThrough(watch)), limit);
  } finally {
    clearTimeout(timer);
    // Whoever stops reading lets go of the connection.
    silence.abort();
  }
}
