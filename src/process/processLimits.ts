import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";

/** What a program may have that works on files of strangers. */
export interface ProcessLimits {
  memoryBytes: number;
  /** Of the processor, over all of its threads. */
  cpuSeconds: number;
  /** Of each file that it writes. */
  fileBytes: number;
}

export interface LimitedCommand {
  program: string;
  args: string[];
  /** Where it is out of memory, this limit is why, and nothing that this process was started under. */
  limitsMemory: boolean;
}

/** Whoever started the program looks at its time, and knows what to say; the kernel ends what nobody looks at any more. */
const CPU_GRACE_SECONDS = 60;

let found: string | null | undefined;

/** Where `prlimit` of util-linux is, which the limits need; undefined: they are not set. */
export function prlimitPath(path = process.env.PATH ?? ""): string | undefined {
  if (found === undefined) {
    const places = [...path.split(delimiter), "/usr/bin", "/bin"].filter((folder) => folder !== "");
    found = places.map((folder) => join(folder, "prlimit")).find(isExecutable) ?? null;
  }
  return found ?? undefined;
}

/** A program under limits that the kernel keeps, where it can: a limit can only be lowered. */
export function limited(program: string, args: readonly string[], limits: ProcessLimits): LimitedCommand {
  const prlimit = prlimitPath();
  if (prlimit === undefined) return { program, args: [...args], limitsMemory: false };
  const inherited = inheritedLimits();
  const memory = Math.min(limits.memoryBytes, inherited("data size"));
  const options = [
    // Not the address space: programs reserve far more of that than they use.
    `--data=${memory}`,
    `--cpu=${Math.min(limits.cpuSeconds + CPU_GRACE_SECONDS, inherited("cpu time"))}`,
    `--fsize=${Math.min(limits.fileBytes, inherited("file size"))}`,
    "--core=0",
  ];
  return {
    program: prlimit,
    args: [...options, "--", program, ...args],
    limitsMemory: Math.min(memory, inherited("address space")) === limits.memoryBytes,
  };
}

/** The hard limits that this process lives under, in the words of the kernel. */
function inheritedLimits(): (name: string) => number {
  const text = readFileSync("/proc/self/limits", "utf8");
  return (name) => {
    const [, hard = "unlimited"] = new RegExp(`^Max ${name} +\\S+ +(\\S+)`, "m").exec(text) ?? [];
    return hard === "unlimited" ? Number.POSITIVE_INFINITY : Number(hard);
  };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
