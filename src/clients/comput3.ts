import { z } from "zod";
import { isName } from "../lib/text.ts";
import { watchLoop } from "../process/loopTime.ts";
import { jsonOf, readText } from "./answers.ts";
import { checkNode, problemOf } from "./nodeCheck.ts";

/** It becomes part of URLs and of the ids of workflows. */
const name = z.string().refine((text) => isName(text, 255));

/** An instance as `/workloads` lists it; times are Unix seconds. */
const workloadSchema = z.object({
  workload: name,
  node: name,
  type: name,
  created: z.number(),
  expires: z.number(),
});

export type Workload = z.infer<typeof workloadSchema>;

const launchedSchema = z.object({ workload: name, node: name });
/** Older builds answer a stop with an empty object or with `{"success": true}`. */
const stoppedSchema = z.object({ stopped: z.number().optional(), refund_amount: z.number().optional() });
const balanceSchema = z.object({
  balance: z.union([z.number(), z.string().regex(/^-?\d/).transform(Number.parseFloat)]),
});

/** What kind of a failure it is, and so whether and when trying again may help. */
export type Comput3ErrorKind =
  /** The key is not accepted (401, 403): nothing helps before somebody changes it, here or there. */
  | "refused"
  /** The account has no money left: nothing helps before somebody pays. */
  | "no_balance"
  /** No answer, an error of the server or a page of its CDN: it may well be better soon. */
  | "unreachable"
  /** Another answer than the one asked for: there may be no instance to be had, for example. */
  | "failing";

/** The control API refused, failed or could not be reached. The message is a sentence without any secret. */
export class Comput3Error extends Error {
  override name = "Comput3Error";
  /** The HTTP status, if there was an answer. */
  readonly status: number | undefined;
  readonly kind: Comput3ErrorKind;

  constructor(message: string, options: { kind: Comput3ErrorKind; status?: number; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.status = options.status;
    this.kind = options.kind;
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
/** The API answers calls of its own web page. */
const ORIGIN = "https://launch.comput3.ai";
const EXCERPT = 100;

/** @throws Comput3Error from every call */
export function createComput3({ apiUrl, apiKey, timeoutMs = TIMEOUT_MS }: Comput3Options): Comput3 {
  async function call<T>(path: string, schema: z.ZodType<T>, body?: object, signal?: AbortSignal): Promise<T> {
    const what = `Comput3 ${path}`;
    let response: Response;
    let text: string;
    const loop = watchLoop(timeoutMs, signal);
    try {
      response = await fetch(`${apiUrl}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: { "X-C3-API-KEY": apiKey, "Content-Type": "application/json", Origin: ORIGIN },
        redirect: "error",
        signal: loop.signal,
        ...(body && { body: JSON.stringify(body) }),
      });
      text = await readText(response);
    } catch (error) {
      signal?.throwIfAborted();
      const message = `${what} could not be reached: ${problemOf(error)}`;
      throw new Comput3Error(message, { kind: "unreachable", cause: error });
    } finally {
      loop.end();
    }
    const { status } = response;
    if (!response.ok) {
      const message = `${what} answered ${status}: ${excerptOf(text)}`;
      throw new Comput3Error(message, { kind: kindOf(status, text), status });
    }
    const parsed = schema.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data;
    const message = `${what} answered something else than expected: ${excerptOf(text)}`;
    // A launch that is refused for want of money may be told with 200; a balance is about money anyway.
    const kind = path === "/launch" ? kindOf(status, text) : isPage(text) ? "unreachable" : "failing";
    throw new Comput3Error(message, { kind, status });
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
  return (await checkNode(nodeUrl, apiKey, signal)).up;
}

/** How APIs speak of an account that is empty; "insufficient" alone may be said of instances, or of rights. */
const ofMoney = /\b(balance|funds?|credits?|payment|billing|top[ -]?up)\b/i;
const ofSomethingElse = /\b(capacity|gpus?|instances?|nodes?|resources?|permissions?|privileges?|scopes?|rights?)\b/i;

/** The status tells, and the words of an answer that is meant for us; a page is the CDN's, whatever it says. */
function kindOf(status: number, text: string): Comput3ErrorKind {
  if (status === 402) return "no_balance";
  if (status === 401) return "refused";
  if (!isPage(text) && saysThatMoneyLacks(text)) return "no_balance";
  if (status === 403) return "refused";
  return isPage(text) || status >= 500 ? "unreachable" : "failing";
}

function isPage(text: string): boolean {
  return /^\s*</.test(text);
}

function saysThatMoneyLacks(text: string): boolean {
  const words = text.replaceAll("_", " ");
  if (ofMoney.test(words)) return true;
  return /\binsufficient\b/i.test(words) && !ofSomethingElse.test(words);
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
