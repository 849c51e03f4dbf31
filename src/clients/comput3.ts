import { z } from "zod";
import { timeLimit } from "../timeLimit.ts";

/** An instance as `/workloads` lists it; times are Unix seconds. */
const workloadSchema = z.object({
  workload: z.string(),
  node: z.string(),
  type: z.string(),
  created: z.number(),
  expires: z.number(),
});

export type Workload = z.infer<typeof workloadSchema>;

const launchedSchema = z.object({ workload: z.string(), node: z.string() });
/** Older builds answer a stop with an empty object or with `{"success": true}`. */
const stoppedSchema = z.object({ stopped: z.number().optional(), refund_amount: z.number().optional() });
const balanceSchema = z.object({ balance: z.number() });

/** The control API refused, failed or could not be reached. The message is a sentence without any secret. */
export class Comput3Error extends Error {
  override name = "Comput3Error";
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;

  constructor(message: string, options: { status?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = options.status;
  }
}

export interface Comput3Options {
  /** With the version, without a trailing slash: `https://api.comput3.ai/api/v0`. */
  apiUrl: string;
  apiKey: string;
  /** Of each call. */
  timeoutMs?: number;
}

export interface Stopped {
  /** Unix seconds. */
  stopped?: number;
  refundAmount?: number;
}

/** Comput3's control API. Every call is one request; trying again is the caller's, who knows what it may repeat. */
export interface Comput3 {
  /** Rents an instance until `expires` (Unix seconds). Not idempotent: a lost answer leaves one behind. */
  launch(request: { type: string; expires: number }, signal?: AbortSignal): Promise<{ workload: string; node: string }>;
  runningWorkloads(signal?: AbortSignal): Promise<Workload[]>;
  /** Ends an instance. One that is not there any more is stopped, too. @returns what the provider says of it */
  stop(workload: string, signal?: AbortSignal): Promise<Stopped>;
  types(signal?: AbortSignal): Promise<string[]>;
  balance(signal?: AbortSignal): Promise<number>;
}

const TIMEOUT_MS = 30_000;
const NODE_TIMEOUT_MS = 5000;
/** The API answers calls of its own web page. */
const ORIGIN = "https://launch.comput3.ai";
const EXCERPT = 100;

/** @throws Comput3Error from every call */
export function createComput3({ apiUrl, apiKey, timeoutMs = TIMEOUT_MS }: Comput3Options): Comput3 {
  async function call<T>(path: string, schema: z.ZodType<T>, body?: object, signal?: AbortSignal): Promise<T> {
    const what = `Comput3 ${path}`;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${apiUrl}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: { "X-C3-API-KEY": apiKey, "Content-Type": "application/json", Origin: ORIGIN },
        redirect: "error",
        signal: timeLimit(timeoutMs, signal),
        ...(body && { body: JSON.stringify(body) }),
      });
      text = await response.text();
    } catch (error) {
      signal?.throwIfAborted();
      throw new Comput3Error(`${what} could not be reached: ${causeOf(error)}`, { cause: error });
    }
    if (!response.ok) {
      throw new Comput3Error(`${what} answered ${response.status}: ${excerptOf(text)}`, { status: response.status });
    }
    const parsed = schema.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    throw new Comput3Error(`${what} answered something else than expected: ${excerptOf(text)}`, {
      status: response.status,
    });
  }

  return {
    launch: (request, signal) => call("/launch", launchedSchema, request, signal),
    runningWorkloads: (signal) => call("/workloads", z.array(workloadSchema), { running: true }, signal),
    async stop(workload, signal) {
      try {
        const { stopped, refund_amount } = await call("/stop", stoppedSchema, { workload }, signal);
        return {
          ...(stopped !== undefined && { stopped }),
          ...(refund_amount !== undefined && { refundAmount: refund_amount }),
        };
      } catch (error) {
        if (error instanceof Comput3Error && error.status === 404) return {};
        throw error;
      }
    },
    types: (signal) => call("/types", z.array(z.string()), undefined, signal),
    async balance(signal) {
      return (await call("/balance", balanceSchema, undefined, signal)).balance;
    },
  };
}

/** Whether a node answers 200 within five seconds. */
export async function nodeIsUp(nodeUrl: string, apiKey: string, signal?: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(`${nodeUrl}/`, {
      headers: { "X-C3-API-KEY": apiKey },
      redirect: "error",
      signal: timeLimit(NODE_TIMEOUT_MS, signal),
    });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    // Whatever kept it from answering: it is not up.
    signal?.throwIfAborted();
    return false;
  }
}

/** Under load the API answers with the HTML page of its CDN: of it, no more than a few words. */
function excerptOf(text: string): string {
  const words = text
    .replace(/<(style|script)[\s\S]*?<\/\1>/gi, " ")
    .replace(/<[^>]*>/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return words.slice(0, EXCERPT) || "(an empty answer)";
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
