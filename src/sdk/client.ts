import { randomUUID } from "node:crypto";
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
import { versionsSchema } from "../api/openapi/schemas/versions.ts";
import type { JobType } from "../jobs/job.ts";
import { isFinal, type RequestableState } from "../jobs/states.ts";
import { retryAfterMs } from "../lib/retryAfter.ts";
import { timeLimit } from "../lib/timeLimit.ts";
import { ApiError } from "./errors.ts";
import { type JobEvent, readEvents } from "./events.ts";
import { type OnRetry, withRetries } from "./retries.ts";
import type {
  Deliveries,
  Gpus,
  Job,
  JobFilter,
  JobPage,
  Pools,
  Result,
  Status,
  Submissions,
  Versions,
} from "./types.ts";

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

/** Of calls that are made again while the network or the API fails for now. */
export interface PatientOptions extends CallOptions {
  /** Is told of each failure, and when the next call is made. */
  onRetry?: OnRetry | undefined;
}

export type Client = ReturnType<typeof createClient>;

const TIMEOUT_MS = 30_000;
const POLL_MS = 1000;
/** How long a submission is made again: an API takes less time to restart. */
const SUBMIT_WITHIN_MS = 60_000;

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

  async function request(
    method: "GET" | "POST" | "DELETE",
    path: string,
    { signal, body, headers }: { signal: AbortSignal; body?: object; headers?: Record<string, string> },
  ): Promise<Response> {
    const response = await fetch(`${origin}${path}`, {
      method,
      headers: { ...key, ...headers, ...(body && { "Content-Type": "application/json" }) },
      ...(body && { body: JSON.stringify(body) }),
      signal,
    });
    if (!response.ok) throw refusal(response, await response.text());
    return response;
  }

  async function call<T extends z.ZodType>(
    schema: T,
    method: "GET" | "POST" | "DELETE",
    path: string,
    { signal, ...rest }: CallOptions & { body?: object; headers?: Record<string, string> } = {},
  ): Promise<z.output<T>> {
    const response = await request(method, path, { ...rest, signal: timeLimit(timeoutMs, signal) });
    return schema.parse(await response.json());
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
     * Submits a job, and does so again for up to a minute when no answer comes or the API cannot take it for now. Under its
     * key that makes one job.
     * @param idempotencyKey a random one when it is left out. Submitted again with the same one, the job is not made again
     * @returns the id of the job
     */
    async submit<T extends JobType>(
      type: T,
      body: Submissions[T],
      { idempotencyKey = randomUUID(), onRetry, ...options }: PatientOptions & { idempotencyKey?: string } = {},
    ): Promise<string> {
      const headers = { "Idempotency-Key": idempotencyKey };
      const accepted = await withRetries(
        () => call(acceptedSchema, "POST", paths[type], { ...options, headers, body }),
        { ...options, onRetry, withinMs: SUBMIT_WITHIN_MS },
      );
      return "id" in accepted ? accepted.id : accepted.job_id;
    },

    /** What happens to a job, up to its end, through lost connections and restarts of the API; ends with `signal`. */
    events(id: string, { signal, onRetry }: PatientOptions = {}): AsyncGenerator<JobEvent, void> {
      const open = (lastEventId: string | undefined, limit: AbortSignal) =>
        request("GET", `/jobs/${id}/events`, {
          headers: { Accept: "text/event-stream", ...(lastEventId !== undefined && { "Last-Event-ID": lastEventId }) },
          signal: limit,
        });
      return readEvents(open, { signal, onRetry });
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

    /** The versions of the workers. For administrators. */
    async versions(options?: CallOptions): Promise<Versions> {
      return await call(versionsSchema, "GET", "/versions", options);
    },

    /** Makes a version of the workers current: new jobs begin on it; null: workers need none. For administrators. @returns the versions after it */
    async makeCurrent(version: string | null, options?: CallOptions): Promise<Versions> {
      return await call(versionsSchema, "POST", "/versions/current", { ...options, body: { version } });
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
     * Waits until a job has ended, however it did, for as long as `signal` lets it: also while the API cannot be reached,
     * answers 502, 503 or 504, or has too many requests (429). Every other refusal is thrown.
     * @param onStatus is told of each status on the way
     */
    async wait(
      id: string,
      {
        pollMs = POLL_MS,
        onRetry,
        onStatus,
        ...options
      }: PatientOptions & { pollMs?: number; onStatus?: (status: Status) => void } = {},
    ): Promise<Job> {
      const patience = { ...options, onRetry, waitsForItsTurn: true };
      for (;;) {
        const found = await withRetries(() => status(id, options), patience);
        onStatus?.(found);
        if (isFinal(found.status)) return await withRetries(() => job(id, options), patience);
        await delay(pollMs, undefined, { signal: options.signal });
      }
    },
  };
}

function refusal(response: Response, text: string): ApiError {
  const { status, statusText, headers } = response;
  const parsed = errorSchema.safeParse(jsonOf(text));
  const details = parsed.data ?? { error: `HTTP ${status} ${statusText}`, code: "unknown" };
  const waitMs = retryAfterMs(headers.get("Retry-After"), Date.now());
  return new ApiError(status, { ...details, retryAfterSeconds: waitMs === undefined ? undefined : waitMs / 1000 });
}

/** undefined for what is not JSON: a proxy may answer in its own way. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
