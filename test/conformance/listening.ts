import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMedia } from "../../src/simulator/sound/media.ts";

const RATE = 16_000;
const WINDOW = RATE / 10;
const SHORTEST_TONE_WINDOWS = 3;
const QUIET = 500;

export interface Heard {
  seconds: number;
  bytes: number;
  /** The pitches in their order, to the next 20 Hz; one that follows itself counts once. */
  tones: number[];
}

/** What is heard in the sound behind a link. */
export async function listenTo(url: string): Promise<Heard> {
  const response = await fetch(url);
  assert.equal(response.status, 200);
  const bytes = Buffer.from(await response.arrayBuffer());
  const folder = await mkdtemp(join(tmpdir(), "c3-render-listen-"));
  try {
    const path = join(folder, "sound");
    await writeFile(path, bytes);
    const sound = await createMedia().decode(path);
    return { seconds: sound.length / RATE, bytes: bytes.length, tones: tonesOf(sound) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function tonesOf(sound: Int16Array): number[] {
  const tones: number[] = [];
  let last = 0;
  let windows = 0;
  for (let from = 0; from + WINDOW <= sound.length; from += WINDOW) {
    const hertz = pitchOf(sound.subarray(from, from + WINDOW));
    windows = hertz === last ? windows + 1 : 1;
    last = hertz;
    if (hertz > 0 && windows === SHORTEST_TONE_WINDOWS && tones.at(-1) !== hertz) tones.push(hertz);
  }
  return tones;
}

/** Counts waves; 0 where it is quiet. */
function pitchOf(window: Int16Array): number {
  let crossings = 0;
  let loudest = 0;
  let before = 0;
  for (const sample of window) {
    if (sample < 0 !== before < 0) crossings += 1;
    loudest = Math.max(loudest, Math.abs(sample));
    before = sample;
  }
  return loudest < QUIET ? 0 : Math.round(((crossings / 2) * (RATE / WINDOW)) / 20) * 20;
}
