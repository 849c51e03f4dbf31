import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { deliveriesSchema, redeliveredSchema } from "../api/openapi/schemas/deliveries.ts";
import { errorSchema } from "../api/openapi/schemas/errors.ts";
import { gpusSchema, poolsSchema } from "../api/openapi/schemas/gpus.ts";
import {
  jobSchema,
  jobsSchema,
  lipsyncSubmittedSchema,
  markedSchema,
  resultSchema,
  statusSchema,
  submittedSchema,
} from "../api/openapi/schemas/jobs.ts";
import type { JobType } from "../jobs/job.ts";
import { isFinal, type RequestableState } from "../jobs/states.ts";
import { timeLimit } from "../timeLimit.ts";
import { ApiError } from "./errors.ts";
import { eventsOf, type JobEvent } from "./events.ts";
import type { Deliveries, Gpus, Job, JobFilter, JobPage, Pools, Result, Status, Submissions } from "./types.ts";

export interface ClientOptions {
  /** Where the API is, such as `http://127.0.0.1:5000`. */
  baseUrl: string;
  apiKey?: string | undefined;
  /** Of one request. */
  timeoutMs?: number;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
}

export type Client = ReturnType<typeof createClient>;

const TIMEOUT_MS = 30_000;
const POLL_MS = 1000;

const paths: Record<JobType, string> = {
  csm: "/csm",
  whisper: "/whisper",
  portrait: "/portrait",
  analyze: "/analyze",
  lipsync: "/jobs",
};
const acceptedSchema = z.union([submittedSchema, lipsyncSubmittedSchema]);

/** A client of the HTTP API. Every call throws `ApiError` when the API refuses it. */
export function createClient({ baseUrl, apiKey, timeoutMs = TIMEOUT_MS }: ClientOptions) {
  const origin = baseUrl.replace(/\/+$/, "");
  const key: Record<string, string> = apiKey === undefined ? {} : { "X-C3-RENDER-KEY": apiKey };

  async function call<T extends z.ZodType>(
    schema: T,
    method: "GET" | "POST" | "DELETE",
    path: string,
    { signal, body, headers }: CallOptions & { body?: object; headers?: Record<string, string> } = {},
  ): Promise<z.output<T>> {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: { ...key, ...headers, ...(body && { "Content-Type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
      signal: timeLimit(timeoutMs, signal),
    });
    const text = await response.text();
    if (!response.ok) throw refusal(response, text);
    return schema.parse(JSON.parse(text));
  }

  async function status(id: string, options?: CallOptions): Promise<Status> {
    return await call(statusSchema, "GET", `/status/${id}`, options);
  }

  async function job(id: string, options?: CallOptions): Promise<Job> {
    return await call(jobSchema, "GET", `/jobs/${id}`, options);
  }

  /** Asks a job to end. @returns what became of it, in a sentence */
  async function mark(id: string, body: { status: RequestableState; error?: string }, options?: CallOptions) {
    return (await call(markedSchema, "POST", `/job/${id}`, { ...options, body })).message;
  }

  return {
    status,
    job,
    mark,

    /**
     * @param idempotencyKey sent again with the same one, the job is not made again
     * @returns the id of the job
     */
    async submit<T extends JobType>(
      type: T,
      body: Submissions[T],
      { idempotencyKey, ...options }: CallOptions & { idempotencyKey?: string } = {},
    ): Promise<string> {
      const headers = idempotencyKey === undefined ? {} : { "Idempotency-Key": idempotencyKey };
      const accepted = await call(acceptedSchema, "POST", paths[type], { ...options, headers, body });
      return "id" in accepted ? accepted.id : accepted.job_id;
    },

    /** A page of jobs, newest first. */
    async list(filter: JobFilter = {}, options?: CallOptions): Promise<JobPage> {
      const query = new URLSearchParams(
        Object.entries(filter).map(([name, value]): [string, string] => [name, String(value)]),
      );
      return await call(jobsSchema, "GET", `/jobs?${query}`, options);
    },

    /** Cancels a job that has not ended, and has it and its files forgotten. @returns what became of it */
    async remove(id: string, options?: CallOptions): Promise<string> {
      return (await call(markedSchema, "DELETE", `/jobs/${id}`, options)).message;
    },

    /** What came of a job that succeeded, or why it failed. */
    async result(id: string, options?: CallOptions): Promise<Result> {
      return await call(resultSchema, "GET", `/result/${id}`, options);
    },

    async cancel(id: string, options?: CallOptions): Promise<string> {
      return await mark(id, { status: "cancelled" }, options);
    },

    /**
     * What happens to a job, from its beginning until its end. A stream that breaks off, as it does when the API is restarted,
     * is taken up where it was.
     */
    async *events(id: string, { signal }: CallOptions = {}): AsyncGenerator<JobEvent> {
      const headers: Record<string, string> = { ...key, Accept: "text/event-stream" };
      let isTakenUp = false;
      for (;;) {
        try {
          const response = await fetch(`${origin}/jobs/${id}/events`, { headers, ...(signal && { signal }) });
          if (response.status === 204) return;
          if (!response.ok) throw refusal(response, await response.text());
          isTakenUp = true;
          for await (const event of eventsOf(response, signal)) {
            if (event.event === "status") headers["Last-Event-ID"] = event.id;
            yield event;
            if (event.event === "end") return;
          }
        } catch (error) {
          if (!isTakenUp || !isPassing(error)) throw error;
        }
        await delay(POLL_MS, undefined, { signal });
      }
    },

    /** Every attempt to deliver a job's webhook. */
    async deliveries(id: string, options?: CallOptions): Promise<Deliveries> {
      return await call(deliveriesSchema, "GET", `/jobs/${id}/deliveries`, options);
    },

    /** Sends a job's webhook again. @returns what became of it */
    async redeliver(id: string, options?: CallOptions): Promise<string> {
      return (await call(redeliveredSchema, "POST", `/jobs/${id}/deliveries`, options)).message;
    },

    /** The pools: who waits, and how many instances there may be. For administrators. */
    async pools(options?: CallOptions): Promise<Pools> {
      return await call(poolsSchema, "GET", "/pools", options);
    },

    /** The instances: what they do, and what they cost. For administrators. */
    async gpus(options?: CallOptions): Promise<Gpus> {
      return await call(gpusSchema, "GET", "/gpus", options);
    },

    /**
     * Waits until a job has ended, however it did; for as long as `signal` lets it.
     * @param onStatus told of each status on the way
     */
    async wait(
      id: string,
      {
        pollMs = POLL_MS,
        onStatus,
        ...options
      }: CallOptions & { pollMs?: number; onStatus?: ((status: Status) => void) | undefined } = {},
    ): Promise<Job> {
      for (;;) {
        const waitMs = await status(id, options).then(
          (found) => {
            onStatus?.(found);
            return isFinal(found.status) ? undefined : pollMs;
          },
          (error) => retryMs(error),
        );
        if (waitMs === undefined) return await job(id, options);
        await delay(waitMs, undefined, { signal: options.signal });
      }
    },
  };
}

function refusal(response: Response, text: string): ApiError {
  const { status, statusText, headers } = response;
  const parsed = errorSchema.safeParse(jsonOf(text));
  const details = parsed.data ?? { error: `HTTP ${status} ${statusText}`, code: "unknown" };
  const retryAfter = headers.get("Retry-After");
  return new ApiError(status, { ...details, retryAfterSeconds: retryAfter === null ? undefined : Number(retryAfter) });
}

/** undefined for what is not JSON: a proxy may answer in its own way. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What the end of a connection is, and what is answered while the API starts. */
function isPassing(error: unknown): boolean {
  return error instanceof ApiError ? error.status >= 500 || error.status === 429 : error instanceof TypeError;
}

/** @throws whatever waiting does not help against */
function retryMs(error: unknown): number {
  if (error instanceof ApiError && error.retryAfterSeconds !== undefined) return error.retryAfterSeconds * 1000;
  throw error;
}
