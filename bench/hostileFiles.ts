import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { deflateSync, gzipSync } from "node:zlib";
import sharp from "sharp";
import { wavOf } from "../src/simulator/sound/media.ts";
import { png } from "../test/support/png.ts";

type Serve = (response: ServerResponse) => void | Promise<void>;

const BOMB_SIDE = 60_000;
const AVIF_SIDE = 12_000;
/** Of a file without an end: ten megabytes a second, for a caller's server is at the other end of a network. */
const PIECE_BYTES = 1024 * 1024;
const PIECES_PER_SECOND = 10;

/** Files that take a worker's memory, time, places or disk, and servers that keep it waiting. */
export async function startHostileFiles() {
  const avif = await sharp({ create: { width: AVIF_SIDE, height: AVIF_SIDE, channels: 3, background: "red" } })
    .avif({ effort: 0 })
    .toBuffer();
  /** Hardly anything of it is there. */
  const bomb = png(BOMB_SIDE, BOMB_SIDE, deflateSync(Buffer.alloc(1024 * 1024)));
  const zipped = gzipSync(Buffer.alloc(300 * 1024 * 1024));
  const file =
    (body: Buffer): Serve =>
    (response) =>
      void response.end(body);
  const sounds: Record<string, Serve> = {
    "rate-1.wav": file(wav(1, 1)),
    "rate-1e9.wav": file(wav(1_000_000_000, 1)),
    "channels.wav": file(wav(16_000, 65_535)),
    "noise.mp3": file(Buffer.from(Array.from({ length: 50_000 }, (_, index) => (index * 7919) % 256))),
    "silent.wav": () => {},
    "trickle.wav": (response) => trickle(response),
    "endless.wav": (response) => endless(response, wav(16_000, 1)),
    "bomb.wav": (response) => {
      response.writeHead(200, { "Content-Encoding": "gzip" }).end(zipped);
    },
    "loop.wav": (response) => void response.writeHead(302, { location: "/loop.wav" }).end(),
  };
  const pictures: Record<string, Serve> = {
    "bomb.png": file(bomb),
    "bomb.avif": file(avif),
    "half.png": file(bomb.subarray(0, 60)),
    "silent.png": () => {},
  };
  const all: Record<string, Serve> = { ...sounds, ...pictures };
  const server = createServer((request, response) => {
    request.resume();
    response.on("error", () => {});
    const serve = all[request.url?.slice(1).split("?")[0] ?? ""];
    if (serve === undefined) response.writeHead(404).end();
    else void serve(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    sounds: Object.keys(sounds).map((name) => `${origin}/${name}`),
    pictures: Object.keys(pictures).map((name) => `${origin}/${name}`),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

function trickle(response: ServerResponse): void {
  response.write(wav(16_000, 1).subarray(0, 44));
  const timer = setInterval(() => response.write("x"), 500);
  response.on("close", () => clearInterval(timer));
}

async function endless(response: ServerResponse, head: Buffer): Promise<void> {
  const pieces = async function* () {
    yield head;
    for (; ; await delay(1000 / PIECES_PER_SECOND)) yield Buffer.alloc(PIECE_BYTES);
  };
  // It ends when nobody listens any more.
  await pipeline(pieces, response).catch(() => {});
}

/** Three kilobytes of 16-bit sound, whatever its header says of it. */
function wav(rate: number, channels: number): Buffer {
  const file = wavOf(new Int16Array(1500));
  file.writeUInt16LE(channels, 22);
  file.writeUInt32LE(rate, 24);
  return file;
}
