import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { limited } from "../../process/processLimits.ts";
import { type Pcm, pcmOf, SAMPLE_RATE } from "./media.ts";
import { speakable } from "./speakable.ts";

interface SpeechRequest {
  voice: FliteVoice;
  text: string;
}

const speechAnswer = z.union([z.object({ wav: z.instanceof(Uint8Array) }), z.object({ error: z.string() })]);

export type Speech = ReturnType<typeof createSpeech>;

/** Voices of Flite that speak at the same sample rate. */
export type FliteVoice = "slt" | "rms" | "awb";

const KEPT = 200;
/** A process speaks for as long as the simulator lives: what it may have of the processor is some days of speech. */
const LIMITS = { memoryBytes: 512 * 1024 * 1024, cpuSeconds: 86_400, fileBytes: 0 };
/** For one piece of at most 160 characters, which takes about a second. */
const PIECE_MS = 30_000;
/** What is heard of a text that has nothing to say. */
const SILENCE_SECONDS = 0.2;

/**
 * A real, if simple, speech synthesizer in a process of its own, started when it is first needed: one that crashes or
 * hangs fails the text that it was given, and the next one is spoken by a new process.
 *
 * @param program stands in for the synthesizer in tests
 */
export function createSpeech(program = fileURLToPath(new URL("./fliteWorker.mjs", import.meta.url))) {
  let child: ChildProcess | undefined;
  let closed = false;
  let lastInLine: Promise<unknown> = Promise.resolve();
  const spoken = new Map<string, Promise<Pcm>>();

  function start(): ChildProcess {
    // Under limits: the program that sets them becomes this one, with its channel.
    const node = limited(process.execPath, [], LIMITS);
    const options = {
      execPath: node.program,
      execArgv: node.args,
      serialization: "advanced",
      stdio: "ignore",
    } as const;
    const started = fork(program, options);
    // Neither the process nor the channel keeps the simulator from ending.
    started.unref();
    started.channel?.unref();
    started.once("exit", () => {
      if (child === started) child = undefined;
    });
    return started;
  }

  async function synthesize(request: SpeechRequest): Promise<Pcm> {
    if (closed) throw new Error("the simulator ends");
    child ??= start();
    const asked = child;
    return await new Promise<Pcm>((resolve, reject) => {
      const fail = (reason: string) => {
        settle();
        if (child === asked) child = undefined;
        asked.kill("SIGKILL");
        reject(new Error(`the simulated voice failed: ${reason}`));
      };
      const ended = (code: number | null, signal: string | null) => fail(`its process ended with ${signal ?? code}`);
      const broke = (error: Error) => fail(error.message);
      const answered = (message: unknown) => {
        settle();
        const answer = speechAnswer.safeParse(message).data ?? { error: "it answered something strange" };
        if ("error" in answer) reject(new Error(`the simulated voice failed: ${answer.error}`));
        else resolve(pcmOf(Buffer.from(answer.wav)));
      };
      const limit = setTimeout(() => fail(`it said nothing for ${PIECE_MS / 1000} s`), PIECE_MS);
      limit.unref();
      function settle(): void {
        clearTimeout(limit);
        asked.off("message", answered).off("exit", ended).off("error", broke);
      }
      asked.once("message", answered).once("exit", ended).once("error", broke);
      asked.send(request, (error) => error !== null && broke(error));
    });
  }

  /** One after the other: a crash then fails what crashed it, and nothing that waits. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = lastInLine.then(work, work);
    lastInLine = turn;
    return turn;
  }

  async function speakPieces(voice: FliteVoice, text: string, maxSeconds: number): Promise<Pcm> {
    const parts: Pcm[] = [];
    let length = 0;
    for (const piece of speakable(text)) {
      const part = await inTurn(() => synthesize({ voice, text: piece }));
      parts.push(part);
      length += part.length;
      if (length >= maxSeconds * SAMPLE_RATE) break;
    }
    return parts.length === 0 ? new Int16Array(SILENCE_SECONDS * SAMPLE_RATE) : concatenate(parts);
  }

  return {
    /**
     * What `text` sounds like; the same words are synthesized once.
     * @param maxSeconds what is said later may be missing
     */
    speak(voice: FliteVoice, text: string, maxSeconds = Number.POSITIVE_INFINITY): Promise<Pcm> {
      const key = `${voice} ${maxSeconds} ${text}`;
      const known = spoken.get(key);
      if (known !== undefined) return known;
      const speaking = speakPieces(voice, text, maxSeconds);
      spoken.set(key, speaking);
      speaking.catch(() => spoken.delete(key));
      const [oldest] = spoken.keys();
      if (spoken.size > KEPT && oldest !== undefined) spoken.delete(oldest);
      return speaking;
    },

    /** The process of the moment, for who wants to see it end. */
    processId: () => child?.pid,

    async close(): Promise<void> {
      closed = true;
      const last = child;
      if (last === undefined) return;
      last.ref();
      const ended = new Promise((resolve) => last.once("exit", resolve));
      last.kill("SIGKILL");
      await ended;
    },
  };
}

export function concatenate(parts: Pcm[]): Pcm {
  const whole = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
