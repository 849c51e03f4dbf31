import { setTimeout as sleep } from "node:timers/promises";
import { Hono } from "hono";
import { type SSEStreamingApi, streamSSE } from "hono/streaming";
import { isFinal } from "../../jobs/states.ts";
import type { ApiDeps, ApiEnv } from "../context.ts";
import { jobIdOf } from "../jobs/jobId.ts";
import type { JobReader } from "../jobs/jobReader.ts";
import type { WatchJob } from "../jobs/jobWatch.ts";
import type { JobReading } from "../jobs/readJob.ts";

/** Proxies close what is silent for longer. */
const COMMENT_EVERY_MS = 15_000;
/** The id of the last event. */
const END = "end";

/**
 * How a job goes, as Server-Sent Events. A `status` has the id of its entry in the job's timeline, which is kept
 * with the job: so a reader that comes back with `Last-Event-ID` goes on where it was, whichever process it asks.
 */
export function eventRoutes(deps: ApiDeps, jobs: JobReader, watchJob: WatchJob) {
  return new Hono<ApiEnv>().get("/jobs/:id/events", async (c) => {
    const id = jobIdOf(c);
    const lastId = c.req.header("Last-Event-ID");
    await jobs.read(id, c.var.caller);
    // Nothing else tells an EventSource not to come back.
    if (lastId === END) return c.body(null, 204);
    c.header("X-Accel-Buffering", "no");
    // Nobody would read, and so end, the body of an answer to HEAD.
    if (c.req.method === "HEAD") return c.body(null, 200, { "Content-Type": "text/event-stream" });
    return streamSSE(
      c,
      async (stream) => {
        const gone = new AbortController();
        stream.onAbort(() => gone.abort());
        const commenting = comment(stream, gone.signal);
        try {
          const send = createSender(stream, lastId);
          for await (const reading of watchJob(id, gone.signal)) await send(reading);
        } finally {
          gone.abort();
          await commenting;
        }
      },
      async (error) => deps.log.error({ err: error, jobId: id }, "the events of the job broke off"),
    );
  });
}

/** Sends of each reading what is new; a write waits until the reader has taken what came before. */
function createSender(stream: SSEStreamingApi, lastId: string | undefined): (reading: JobReading) => Promise<void> {
  let sent = Number(lastId ?? 0) || 0;
  let lastProgress: number | null = null;

  return async ({ view, progress }) => {
    const { id, state: status, error } = view;
    for (const { id: entryId, state, ...entry } of view.timeline) {
      if (entryId <= sent) continue;
      await stream.writeSSE({
        event: "status",
        id: String(entryId),
        data: JSON.stringify({ id, status: state, ...entry }),
      });
      sent = entryId;
    }
    if (progress !== null && progress !== lastProgress) {
      await stream.writeSSE({ event: "progress", data: JSON.stringify({ id, progress }) });
    }
    lastProgress = progress;
    if (isFinal(status)) await stream.writeSSE({ event: END, id: END, data: JSON.stringify({ id, status, error }) });
  };
}

async function comment(stream: SSEStreamingApi, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await sleep(COMMENT_EVERY_MS, undefined, { signal });
    } catch {
      return;
    }
    await stream.write(": still here\n\n");
  }
}
