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
  const all = (await Promise.all((await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(processOf))).flat();
  const found = all.filter(({ pid }) => pids.includes(pid));
  for (let size = -1; size !== found.length; ) {
    size = found.length;
    const known = new Set(found.map(({ pid }) => pid));
    found.push(...all.filter(({ pid, parent }) => known.has(parent) && !known.has(pid)));
  }
  return found;
}

async function processOf(name: string): Promise<Process[]> {
  try {
    const [stat, statm, command] = await Promise.all(
      ["stat", "statm", "cmdline"].map((file) => readFile(`/proc/${name}/${file}`, "utf8")),
    );
    // The name of a program may have spaces and parentheses in it.
    const [, parent] = (stat ?? "").slice((stat ?? "").lastIndexOf(")") + 2).split(" ");
    const [, pages] = (statm ?? "").split(" ");
    const residentBytes = Number(pages) * PAGE_BYTES;
    return [
      { pid: Number(name), parent: Number(parent), residentBytes, command: (command ?? "").replaceAll("\0", " ") },
    ];
  } catch {
    // It has ended.
    return [];
  }
}
