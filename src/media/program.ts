import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";

/** A file that a program read to its end and did not like. `message` is its complaint, in one line. */
export class FileRefused extends Error {
  override name = "FileRefused";
  /** The program did not survive the file. */
  readonly crashed: boolean;
  constructor(message: string, crashed = false) {
    super(message);
    this.crashed = crashed;
  }
}

/** A program that could not do its work for a reason that is not the file's: another try may help. */
export class ToolTrouble extends Error {
  override name = "ToolTrouble";
}

export interface RunOptions {
  signal: AbortSignal;
  /**
   * It is ended when it has not gone forward for so long. There is no limit to the whole: how long that takes depends on
   * the file and on how busy the machine is, and the job has a deadline.
   */
  stallMs: number;
  /** Takes its output piece by piece, and says whether it went forward; without it, any output says so. */
  onOutput?: (chunk: Buffer) => boolean;
}

/** How programs crash, in contrast to how they are killed. */
const crashes: readonly (NodeJS.Signals | null)[] = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"];
const CRASH_CODES = [132, 133, 134, 135, 136, 139];
/**
 * Exit codes that say nothing of the file: of a shell that cannot start a program (126, 127) or saw it killed (128 and
 * the signal), of an ffmpeg that was told to end (255), and of newer ones the system's errors that are never a file's:
 * no memory, no room, no rights, too many files, a broken pipe (256 less the number).
 */
const OUR_CODES = [126, 127, 129, 130, 137, 143, 255, ...[12, 28, 13, 23, 24, 32].map((errno) => 256 - errno)];
/** The same errors in older ones, which always exit with 1. */
const OUR_COMPLAINTS =
  /Cannot allocate memory|Out of memory|No space left on device|Disk quota exceeded|Permission denied|Read-only file system|Too many open files|Resource temporarily unavailable|error while loading shared libraries/i;
/** A damaged file of an hour makes ffmpeg complain some hundred thousand times; the last words count. */
const KEPT_COMPLAINT = 16 * 1024;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const LOOKS = 20;

/**
 * Runs a program on a file of a stranger's. Only an exit code of its own, or a crash, speaks about the file. A program
 * that was killed, could not be started, had no memory or stood still may succeed at another time.
 * @returns its standard output, unless `onOutput` took it
 * @throws FileRefused, ToolTrouble, the signal's reason
 */
export async function run(
  program: string,
  args: readonly string[],
  { signal, stallMs, onOutput }: RunOptions,
): Promise<string> {
  signal.throwIfAborted();
  // A group of its own: what a wrapper starts ends with it, and a Ctrl-C at the terminal is for us to handle.
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  const output: Buffer[] = [];
  let bytes = 0;
  let standing = 0;
  let ending: Error | undefined;
  const end = (reason: Error) => {
    ending ??= reason;
    killGroup(child);
  };
  // Listened to first: where there are too many open files, it fails without having any streams.
  const ended = endOf(child, program);
  const complaint = lastWordsOf(child.stderr);
  child.stdout?.on("data", (chunk: Buffer) => {
    if (onOutput !== undefined) {
      if (onOutput(chunk)) standing = 0;
      return;
    }
    standing = 0;
    bytes += chunk.length;
    if (bytes > MAX_OUTPUT_BYTES) end(new FileRefused("it says too much about itself"));
    else output.push(chunk);
  });
  // Looks are counted, not seconds: where this process had no time to look, the program had none to go forward.
  const watch = setInterval(() => {
    standing += 1;
    if (standing > LOOKS) {
      end(new ToolTrouble(`${nameOf(program)} has not gone forward for ${Math.round(stallMs / 1000)} s`));
    }
  }, stallMs / LOOKS);
  const onAbort = () => end(signal.reason instanceof Error ? signal.reason : new Error("not wanted any more"));
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const { code, killedBy } = await ended;
    signal.throwIfAborted();
    if (ending !== undefined) throw ending;
    judge(program, code, killedBy, complaint());
    return Buffer.concat(output).toString();
  } finally {
    clearInterval(watch);
    signal.removeEventListener("abort", onAbort);
  }
}

/** Whose fault an ending was, if it was one. */
function judge(program: string, code: number | null, killedBy: NodeJS.Signals | null, complaint: string): void {
  if (code === 0) return;
  const name = nameOf(program);
  if (crashes.includes(killedBy) || (code !== null && CRASH_CODES.includes(code))) {
    throw new FileRefused(`${name} crashes over it`, true);
  }
  if (code === null) throw new ToolTrouble(`${name} was ended by ${killedBy ?? "something else"}`);
  if (OUR_CODES.includes(code) || OUR_COMPLAINTS.test(complaint)) {
    throw new ToolTrouble(`${name} could not do its work (${lastLineOf(complaint) ?? `exit code ${code}`})`);
  }
  throw new FileRefused(lastLineOf(complaint) ?? `${name} gave no reason`);
}

/**
 * Does `work` once more when the program crashed: one crash may be the machine's doing, two over one file in a row are the
 * file's, for as long as the program is the same.
 */
export async function againAfterCrash<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof FileRefused && error.crashed) return await work();
    throw error;
  }
}

/** Resolves when the program has ended and nothing of it writes any more. */
function endOf(child: ChildProcess, program: string) {
  return new Promise<{ code: number | null; killedBy: NodeJS.Signals | null }>((resolve, reject) => {
    child.once("error", (error) => {
      reject(new ToolTrouble(`${nameOf(program)} cannot be started (${codeOf(error)})`, { cause: error }));
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

function lastWordsOf(stream: Readable | undefined): () => string {
  let words = Buffer.alloc(0);
  stream?.on("data", (chunk: Buffer) => {
    words = Buffer.concat([words, chunk]).subarray(-KEPT_COMPLAINT);
  });
  return () => words.toString();
}

/** Programs complain last of all about what stopped them; paths are ours and say nothing. */
function lastLineOf(complaint: string): string | undefined {
  const line = complaint.trim().split("\n").at(-1)?.trim() ?? "";
  return line === "" ? undefined : line.replaceAll(/\S*\/\S*/g, "the file").slice(0, 200);
}

function nameOf(program: string): string {
  return program.slice(program.lastIndexOf("/") + 1);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
