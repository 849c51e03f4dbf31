import { fork } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { startSimulator } from "../src/simulator/simulator.ts";
import { letGo, nextMessage } from "./children.ts";
import type { Task } from "./memoryWorker.ts";
import { BenchError } from "./submit.ts";

const MIB = 1024 * 1024;
const RESULT_BYTES = 2048 * MIB;
const INPUT_BYTES = 200 * MIB;
const WARM_UP_BYTES = 4 * MIB;
/** Growth of the worker's resident memory that is still good. */
const LIMIT_BYTES = 96 * MIB;

const measured = z.object({ baseline: z.number(), peak: z.number(), seconds: z.number() });

/**
 * What large files cost a worker: its activities in a process of their own, against a server that makes up the
 * files and the simulator's transcription app, with files on disk as its store. Each task runs on a small file
 * first, so that what is measured is the file and not the code that is loaded for it.
 */
export async function memory(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "c3-render-bench-"));
  const simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
  const files = createServer((request, response) => void serve(request.url ?? "", response)).listen(0, "127.0.0.1");
  await once(files, "listening");
  const address = files.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const origin = `http://127.0.0.1:${port}`;
  const node = await launch(simulator);
  const worker = fork(fileURLToPath(new URL("./memoryWorker.ts", import.meta.url)), [], {
    execArgv: [...process.execArgv, "--expose-gc"],
    env: {
      ...process.env,
      C3_RENDER_DATA_DIR: folder,
      OUTPUT_DIR: join(folder, "output"),
      C3_API_KEY: simulator.apiKey,
      NODE_URL_TEMPLATE: simulator.nodeUrlTemplate,
      COMFYUI_URL_TEMPLATE: `${origin}/{node}`,
      TRUSTED_ORIGINS: origin,
    },
  });
  const run = async (task: Task) => {
    worker.send(task);
    return measured.parse(await nextMessage(worker, "The worker"));
  };
  const tasks: [string, (bytes: number) => Task, number][] = [
    ["result, node → store", (bytes) => ({ kind: "result", node, url: `${origin}/video/${bytes}` }), RESULT_BYTES],
    ["input, its server → worker", (bytes) => ({ kind: "download", url: `${origin}/sound/${bytes}` }), INPUT_BYTES],
    ["input, store → node", (bytes) => ({ kind: "input", node, url: `${origin}/sound/${bytes}` }), INPUT_BYTES],
  ];
  let worst = 0;
  try {
    for (const [name, taskOf, bytes] of tasks) {
      await run(taskOf(WARM_UP_BYTES));
      const { baseline, peak, seconds } = await run(taskOf(bytes));
      worst = Math.max(worst, peak - baseline);
      console.log(
        `${name.padEnd(28)} ${mib(bytes).padStart(9)} in ${seconds.toFixed(1).padStart(5)} s:` +
          ` resident ${mib(baseline)} → ${mib(peak)}, grown by ${mib(peak - baseline)}`,
      );
    }
    console.log(`\nGrown by ${mib(worst)} at most; the limit is ${mib(LIMIT_BYTES)}.`);
  } finally {
    await letGo(worker);
    files.close();
    files.closeAllConnections();
    await simulator.close();
    await rm(folder, { recursive: true, force: true });
  }
  if (worst >= LIMIT_BYTES) process.exitCode = 1;
}

async function launch({ comput3Url, apiKey }: { comput3Url: string; apiKey: string }): Promise<string> {
  const response = await fetch(`${comput3Url}/launch`, {
    method: "POST",
    headers: { "X-C3-API-KEY": apiKey, "Content-Type": "application/json" },
    body: JSON.stringify({ type: "media:fast", expires: Math.floor(Date.now() / 1000) + 7200 }),
  });
  const text = await response.text();
  if (!response.ok) throw new BenchError(`The simulator answered a launch with ${response.status} ${text}.`);
  return z.object({ node: z.string() }).parse(JSON.parse(text)).node;
}

/** `/video/<bytes>` is as much of an MP4 as is looked at, `/sound/<bytes>` is silence: both of that length. */
async function serve(path: string, response: ServerResponse): Promise<void> {
  const [, kind, length] = path.split("/");
  const bytes = Number(length);
  const head = kind === "video" ? mp4Head(bytes) : wavHead(bytes);
  response.writeHead(200, { "content-length": bytes });
  response.write(head);
  await pipeline(createReadStream("/dev/zero", { end: bytes - head.length - 1 }), response).catch(() => {
    // The worker gave up; it says so itself.
  });
}

function mp4Head(bytes: number): Buffer {
  const ftyp = Buffer.concat([box("ftyp", 24), Buffer.from("isom\0\0\x02\0isomiso2", "latin1")]);
  const moov = box("moov", 8);
  const mdat = box("mdat", 1);
  const large = Buffer.alloc(8);
  large.writeBigUInt64BE(BigInt(bytes - ftyp.length - moov.length));
  return Buffer.concat([ftyp, moov, mdat, large]);
}

function box(type: string, size: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(size, 0);
  header.write(type, 4, "latin1");
  return header;
}

/** 16-bit stereo at 44.1 kHz. */
function wavHead(bytes: number): Buffer {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(bytes - 8, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(2, 22);
  header.writeUInt32LE(44_100, 24);
  header.writeUInt32LE(176_400, 28);
  header.writeUInt16LE(4, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(bytes - 44, 40);
  return header;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`;
}
