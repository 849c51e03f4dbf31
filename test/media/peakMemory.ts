import { readFileSync } from "node:fs";

const LOOK_EVERY_MS = 5;

/** What `work` comes to, and the most memory that a process had which it started, in MB; 0 where that is not to be seen. */
export async function withPeakMemory<T>(work: () => Promise<T>): Promise<{ result: T; megabytes: number }> {
  let most = 0;
  const look = setInterval(() => {
    for (const pid of startedProcesses()) most = Math.max(most, peakOf(pid));
  }, LOOK_EVERY_MS);
  try {
    return { result: await work(), megabytes: most };
  } finally {
    clearInterval(look);
  }
}

let others: string[] = [];

/** Leaves out what this process has started until now, such as the Temporal server of other tests. */
export function startCounting(): void {
  others = children();
}

/** Those that this process has started since then and that still run. */
export function startedProcesses(): string[] {
  // What tsx compiles with is started when it is first needed.
  return children().filter((pid) => !others.includes(pid) && !readOr("", `/proc/${pid}/cmdline`).includes("esbuild"));
}

function children(): string[] {
  return readOr("", `/proc/self/task/${process.pid}/children`).split(" ").filter(Boolean);
}

function peakOf(pid: string): number {
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(readOr("", `/proc/${pid}/status`))?.[1] ?? 0) / 1024;
}

function readOr(nothing: string, file: string): string {
  try {
    return readFileSync(file, "latin1");
  } catch {
    return nothing;
  }
}
