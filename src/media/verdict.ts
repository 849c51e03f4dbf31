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

/** A program that found the disk full, say, which this process would find as well. */
export class MachineLacks extends ToolTrouble {}

/** A program that had no memory left of what it is allowed. */
class OutOfMemory extends ToolTrouble {}

/** How a program ended. */
export interface Ending {
  /** As it is called in messages. */
  name: string;
  code: number | null;
  killedBy: NodeJS.Signals | null;
  /** Its last words. */
  complaint: string;
  /** It had the memory that it may have, and the machine had more. */
  limitsMemory: boolean;
}

/** How programs crash, in contrast to how they are killed. */
const crashes: readonly (NodeJS.Signals | null)[] = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"];
const CRASH_CODES = [132, 133, 134, 135, 136, 139];
const FILE_SIZE_CODE = 153;
const NO_MEMORY_CODE = 256 - 12;
/**
 * Exit codes that say nothing of the file: of a shell that cannot start a program (126, 127) or saw it killed (128 and
 * the signal), of an ffmpeg that was told to end (255), and of newer ones the system's errors that are never a file's:
 * no room, no quota, a read-only disk, no rights, too many files, a broken disk or pipe (256 less the number).
 */
const OUR_CODES = [126, 127, 129, 130, 137, 143, 255, ...[28, 122, 30, 13, 23, 24, 32].map((errno) => 256 - errno)];
/** The same errors in older ones, which always exit with 1. */
const OUR_COMPLAINTS =
  /No space left on device|Disk quota exceeded|Permission denied|Read-only file system|Too many open files|Resource temporarily unavailable|error while loading shared libraries/i;
/** With a full disk, ffmpeg ends as if all were well. */
const NOT_WRITTEN = /No space left on device|Disk quota exceeded|Input\/output error/i;
/** The resampler keeps a pause in memory, whole; where that is too much it goes on without, and what follows is early. */
const PAUSE_LOST = /Failed to compensate for timestamp delta/;
/** Of `-max_streams`, which newer ones take for a lack of memory. */
const TOO_MANY_STREAMS = /exceeds max_streams/;
export const NO_MEMORY =
  /Cannot allocate memory|out of memory|insufficient memory|memory exhausted|failed to allocate|unable to (malloc|allocate)|allocation (failed|error)|bad_alloc/i;
/** What `prlimit` says when the program is not there, or the limits cannot be set. */
const NOT_STARTED = /^prlimit: (failed to execute)?/;

/** Whose fault an ending was, if it was one. @throws FileRefused, ToolTrouble */
export function judge({ name, code, killedBy, complaint, limitsMemory }: Ending): void {
  if (code === 0 && NOT_WRITTEN.test(complaint)) throw new MachineLacks(`${name} could not write its file`);
  if (PAUSE_LOST.test(complaint)) throw new FileRefused("it pauses for too long");
  if (code === 0) return;
  const notStarted = NOT_STARTED.exec(complaint);
  if (notStarted !== null) {
    const reason = notStarted[1] === undefined ? "its limits cannot be set" : code === 127 ? "ENOENT" : "EACCES";
    throw new ToolTrouble(`${name} cannot be started (${reason})`);
  }
  if (killedBy === "SIGXFSZ" || code === FILE_SIZE_CODE) throw new FileRefused("what becomes of it is too large");
  // The system's own words are for whoever reads the log.
  const trouble = { cause: lastLineOf(complaint) ?? `exit code ${code}` };
  if (OUR_COMPLAINTS.test(complaint)) throw new MachineLacks(`${name} could not do its work`, trouble);
  if (TOO_MANY_STREAMS.test(complaint)) throw new FileRefused("it has too many streams");
  if (code === NO_MEMORY_CODE || NO_MEMORY.test(complaint)) {
    const message = `${name} had too little memory`;
    throw limitsMemory ? new OutOfMemory(message) : new ToolTrouble(message);
  }
  if (crashes.includes(killedBy) || (code !== null && CRASH_CODES.includes(code))) {
    throw new FileRefused(`${name} crashes over it`, true);
  }
  if (code === null) throw new ToolTrouble(`${name} was ended by ${killedBy ?? "something else"}`);
  if (OUR_CODES.includes(code)) throw new ToolTrouble(`${name} could not do its work`, trouble);
  throw new FileRefused(lastLineOf(complaint) ?? `${name} gave no reason`);
}

/**
 * Does `work` once more when the program crashed, or came to the end of its memory: once may be the machine's doing, twice
 * over one file in a row is the file's, for as long as the program is the same.
 */
export async function againAfterCrash<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof OutOfMemory) && !(error instanceof FileRefused && error.crashed)) throw error;
  }
  try {
    return await work();
  } catch (error) {
    throw error instanceof OutOfMemory ? new FileRefused("it needs too much memory") : error;
  }
}

/** Programs complain last of all about what stopped them; paths are ours and say nothing. */
function lastLineOf(complaint: string): string | undefined {
  const line = complaint.trim().split("\n").at(-1)?.trim() ?? "";
  return line === "" ? undefined : line.replaceAll(/\S*\/\S*/g, "the file").slice(0, 200);
}
