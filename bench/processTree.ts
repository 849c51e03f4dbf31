import { readdir, readFile } from "node:fs/promises";

interface Process {
  pid: number;
  parent: number;
  residentBytes: number;
  command: string;
}

const PAGE_BYTES = 4096;

/** These processes and all that they have started, as /proc knows them. */
export async function treeOf(pids: readonly number[]): Promise<Process[]> {
  const all = (await Promise.all((await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(statOf))).flat();
  const found = all.filter(({ pid }) => pids.includes(pid));
  for (let size = -1; size !== found.length; ) {
    size = found.length;
    const known = new Set(found.map(({ pid }) => pid));
    found.push(...all.filter(({ pid, parent }) => known.has(parent) && !known.has(pid)));
  }
  return await Promise.all(found.map(async (one) => ({ ...one, command: await commandOf(one.pid) })));
}

/** Parent and memory are the fields 4 and 24 of proc_pid_stat(5). @returns nothing when it has ended */
async function statOf(name: string): Promise<Omit<Process, "command">[]> {
  const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
  if (stat === "") return [];
  // The name of a program may have spaces and parentheses in it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return [{ pid: Number(name), parent: Number(fields[1]), residentBytes: Number(fields[21]) * PAGE_BYTES }];
}

async function commandOf(pid: number): Promise<string> {
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return command.replaceAll("\0", " ");
}
