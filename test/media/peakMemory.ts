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

/** Those of this process that still run. */
export function startedProcesses(): string[] {
  const children = readOr("", `/proc/self/task/${process.pid}/children`).split(" ").filter(Boolean);
  // What tsx compiles with is started when it is first needed.
  return children.filter((pid) => !readOr("", `/proc/${pid}/cmdline`).includes("esbuild"));
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
