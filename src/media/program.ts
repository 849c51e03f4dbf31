import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import type { Readable } from "node:stream";
import { limited, type ProcessLimits } from "../process/processLimits.ts";
import { FileRefused, judge, ToolTrouble } from "./verdict.ts";

export interface RunOptions {
  /** What it is called in messages; otherwise as its file is. */
  name?: string;
  signal: AbortSignal;
  /**
   * It is ended when it has not gone forward for so long. There is no limit to the whole by the clock: how long that takes
   * depends on the file and on how busy the machine is, and the job has a deadline.
   */
  stallMs: number;
  limits: ProcessLimits;
  /** Takes its output piece by piece, and says whether it went forward; without it, any output says so. */
  onOutput?: (chunk: Buffer) => boolean;
  /** What is written to its standard input once it has written a first line. Until then it need not go forward. */
  answer?: (line: string) => Promise<string>;
}

/** A damaged file of an hour makes ffmpeg complain some hundred thousand times; the last words count. */
const KEPT_COMPLAINT = 16 * 1024;
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;
const LOOKS = 20;
/** Behind the process that does everything else, when the processor is wanted and when memory runs out. */
const NICENESS = 19;
const OOM_SCORE = "800";
/** Of the processor's clock in /proc: the kernel shows it so on every machine. */
const TICKS_PER_SECOND = 100;

/**
 * Runs a program on a file of a stranger's. Only an exit code of its own, a crash, or a limit that it was given speaks about
 * the file. A program that was killed, could not be started or stood still may succeed at another time.
 * @returns its standard output, unless `onOutput` took it
 * @throws FileRefused, ToolTrouble, the signal's reason
 */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { name = nameOf(program), signal, stallMs, limits, onOutput, answer } = options;
  signal.throwIfAborted();
  const command = limited(program, args, limits);
  // A group of its own: what a wrapper starts ends with it, and a Ctrl-C at the terminal is for us to handle.
  const child = spawn(command.program, command.args, {
    stdio: [answer === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    detached: true,
  });
  // Listened to first: where there are too many open files, it fails without having any streams.
  const ended = endOf(child, name);
  giveWay(child);
  const output: Buffer[] = [];
  let bytes = 0;
  let standing = 0;
  let waiting = false;
  let ending: Error | undefined;
  const end = (reason: Error) => {
    ending ??= reason;
    killGroup(child);
  };
  const reply = async (line: string) => {
    waiting = true;
    try {
      child.stdin?.end(await answer?.(line));
    } catch (error) {
      end(error instanceof Error ? error : new Error(String(error)));
    }
    standing = 0;
    waiting = false;
  };
  const complaint = lastWordsOf(child.stderr);
  // A program that ends before it has read everything says why by its ending.
  child.stdin?.on("error", () => {});
  child.stdout?.on("data", (chunk: Buffer) => {
    if (onOutput !== undefined) {
      if (onOutput(chunk)) standing = 0;
      return;
    }
    standing = 0;
    bytes += chunk.length;
    if (bytes > MAX_OUTPUT_BYTES) return end(new FileRefused("it says too much about itself"));
    const isFirst = answer !== undefined && chunk.includes("\n") && !output.some((before) => before.includes("\n"));
    output.push(chunk);
    if (isFirst) void reply(Buffer.concat(output).toString().split("\n")[0] ?? "");
  });
  // Looks are counted, not seconds: where this process had no time to look, the program had none to go forward.
  const watch = setInterval(() => {
    if (waiting) return;
    standing += 1;
    if (standing > LOOKS) {
      end(new ToolTrouble(`${name} has not gone forward for ${Math.round(stallMs / 1000)} s`));
    }
    if (cpuSecondsOf(child) > limits.cpuSeconds) end(new FileRefused("it takes too long to decode"));
  }, stallMs / LOOKS);
  const onAbort = () => end(signal.reason instanceof Error ? signal.reason : new Error("not wanted any more"));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const { code, killedBy } = await ended;
    signal.throwIfAborted();
    if (ending !== undefined) throw ending;
    const limitsMemory = command.limitsMemory && process.availableMemory() > limits.memoryBytes;
    judge({ name, code, killedBy, complaint: complaint(), limitsMemory });
    return Buffer.concat(output).toString();
  } finally {
    clearInterval(watch);
    signal.removeEventListener("abort", onAbort);
  }
}

/** Resolves when the program has ended and nothing of it writes any more. */
function endOf(child: ChildProcess, name: string) {
  return new Promise<{ code: number | null; killedBy: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", (error) => {
      reject(new ToolTrouble(`${name} cannot be started (${codeOf(error)})`, { cause: error }));
    });
    // What it left behind would hold its pipes open.
    child.once("exit", () => killGroup(child));
    child.once("close", (code, killedBy) => resolve({ code, killedBy }));
  });
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (codeOf(error) !== "ESRCH") throw error;
  }
}

/** The program matters less than this process: it gets less of the processor, and the kernel ends it first. */
function giveWay({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, NICENESS);
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE);
  } catch {
    // It has ended already, or this is no Linux.
  }
}

/** What it has used of the processor; 0 where that is not to be seen. */
function cpuSecondsOf({ pid }: ChildProcess): number {
  try {
    // The name, in brackets, may contain anything.
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*\)/s, "").trim().split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

function lastWordsOf(stream: Readable | null): () => string {
  let words = Buffer.alloc(0);
  stream?.on("data", (chunk: Buffer) => {
    words = Buffer.concat([words, chunk]).subarray(-KEPT_COMPLAINT);
  });
  return () => words.toString();
}

function nameOf(program: string): string {
  return program.slice(program.lastIndexOf("/") + 1);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
