import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { timeLimit } from "../src/lib/timeLimit.ts";

/** Why a benchmark cannot go on, as a sentence. */
export class BenchError extends Error {
  override name = "BenchError";
}

interface Options {
  /** Told once of each kind of refusal. */
  say: (line: string) => void;
  /** How long one job is tried to be submitted. */
  patienceMs?: number;
  /** Between two tries, unless the answer asks for more. */
  pauseMs?: number;
}

const PATIENCE_MS = 60_000;
const PAUSE_MS = 200;
const ANSWER_MS = 30_000;
const LONGEST_QUOTE = 200;
const refused = z.object({ error: z.string(), code: z.string() });
const submitted = z.object({ id: z.string() });

/** Submits jobs of speech. What is refused for now is said and tried again, with the same idempotency key. */
export function createSubmit(apiUrl: string, { say, patienceMs = PATIENCE_MS, pauseMs = PAUSE_MS }: Options) {
  const refusals = new Map<string, number>();
  /** What ended the benchmark: nothing is tried again then. */
  let over: BenchError | undefined;

  function giveUp(sentence: string): never {
    over = new BenchError(sentence);
    throw over;
  }

  function note(refusal: string): void {
    const count = (refusals.get(refusal) ?? 0) + 1;
    refusals.set(refusal, count);
    if (count === 1) say(`  a submission was ${refusal}: it is tried again`);
  }

  return {
    /** How often submissions were refused, or not answered. */
    refused: () => [...refusals.values()].reduce((sum, count) => sum + count, 0),

    /**
     * @returns the id of the job
     * @throws BenchError when it is not taken
     */
    async submit(body: object): Promise<string> {
      const key = randomUUID();
      const until = performance.now() + patienceMs;
      for (;;) {
        const { id, refusal, passes, waitMs } = await post(`${apiUrl}/csm`, body, key);
        if (id !== undefined) return id;
        if (over !== undefined) throw over;
        if (!passes) giveUp(`A submission was ${refusal}.`);
        const pause = Math.max(pauseMs, waitMs);
        if (performance.now() + pause > until) {
          giveUp(`A submission was not taken within ${patienceMs / 1000} s: at last it was ${refusal}.`);
        }
        note(refusal);
        await delay(pause);
      }
    },
  };
}

interface Answer {
  id?: string;
  refusal: string;
  /** Whether it may be taken later. */
  passes: boolean;
  waitMs: number;
}

async function post(url: string, body: object, key: string): Promise<Answer> {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json", "Idempotency-Key": key },
      body: JSON.stringify(body),
      signal: timeLimit(ANSWER_MS),
    });
    const text = await response.text();
    const refusal = `answered with ${response.status} ${wordsOf(text)}`;
    const waitMs = Number(response.headers.get("Retry-After") ?? 0) * 1000 || 0;
    if (response.status !== 200) return { refusal, passes: response.status === 429 || response.status >= 500, waitMs };
    const parsed = submitted.safeParse(jsonOf(text));
    return parsed.success ? { id: parsed.data.id, refusal, passes: false, waitMs } : { refusal, passes: false, waitMs };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? cause.message : String(cause);
    return { refusal: `not answered (${reason})`, passes: true, waitMs: 0 };
  }
}

/** What an answer says, without what is another one each time. */
function wordsOf(text: string): string {
  const { data } = refused.safeParse(jsonOf(text));
  return data === undefined ? text.slice(0, LONGEST_QUOTE) : `${data.code} (${data.error})`;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
