import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { run } from "../../src/media/program.ts";
import { againAfterCrash, FileRefused, judge, ToolTrouble } from "../../src/media/verdict.ts";
import { limited, prlimitPath } from "../../src/process/processLimits.ts";
import { makeFolder } from "../media/support.ts";

const MEGABYTE = 1024 * 1024;
const limits = { memoryBytes: 200 * MEGABYTE, cpuSeconds: 1, fileBytes: MEGABYTE };
const options = { signal: new AbortController().signal, stallMs: 10_000, limits };
const node = (script: string) => againAfterCrash(() => run(process.execPath, ["-e", script], options));

describe("the limits of a program", () => {
  let folder: string;
  let remove: () => Promise<void>;

  before(async function () {
    ({ folder, remove } = await makeFolder());
    if (prlimitPath() !== undefined) return;
    console.log("      there is no prlimit here: nothing is limited");
    this.skip();
  });
  after(() => remove());

  it("are the file's fault when it comes to them: memory, twice", async () => {
    const script = "const all = []; for (;;) all.push(Buffer.alloc(20e6, 1))";
    await assert.rejects(node(script), { name: "FileRefused", message: "it needs too much memory" });
  });

  it("are the file's fault when it comes to them: the processor", async () => {
    await assert.rejects(node("for (;;);"), { name: "FileRefused", message: "it takes too long to decode" });
  });

  it("are the file's fault when it comes to them: what is written", async () => {
    const program = join(folder, "writer");
    await writeFile(program, `#!/bin/sh\nexec head -c 5000000 /dev/zero > '${folder}/large'\n`, { mode: 0o755 });
    await assert.rejects(run(program, [], options), FileRefused);
    await rm(join(folder, "large"));
  });

  it("are nobody's fault when it is this process that has too little memory", async () => {
    const module = fileURLToPath(new URL("../../src/process/processLimits.ts", import.meta.url));
    const script = `import(${JSON.stringify(module)}).then(({ limited }) => {
      const limits = { memoryBytes: 2 ** 40, cpuSeconds: 1, fileBytes: 1 };
      console.log(limited("x", [], limits).limitsMemory);
    })`;
    const args = [`--data=${2 ** 30}`, "--", process.execPath, "--import", "tsx", "-e", script];
    assert.equal((await promisify(execFile)(prlimitPath()!, args)).stdout, "false\n");
    assert.equal(limited("x", [], { ...limits, memoryBytes: 2 ** 40 }).limitsMemory, true);
  });

  it("that are not ours leave the file without fault: there is too little memory for anybody", async () => {
    for (const complaint of ["x: Cannot allocate memory", "terminate called after throwing 'std::bad_alloc'"]) {
      const ending = { name: "ffmpeg", code: 1, killedBy: null, complaint };
      const judged = async (limitsMemory: boolean) => judge({ ...ending, limitsMemory });
      await assert.rejects(
        againAfterCrash(() => judged(false)),
        ToolTrouble,
      );
      await assert.rejects(
        againAfterCrash(() => judged(true)),
        FileRefused,
      );
    }
  });

  it("do not hide that a program is missing", async () => {
    const missing = { name: "ToolTrouble", message: "missing cannot be started (ENOENT)" };
    await assert.rejects(run(join(folder, "missing"), [], options), missing);
  });
});
