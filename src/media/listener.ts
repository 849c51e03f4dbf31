/** Samples a second that are listened to: enough for loudness and pauses, and an hour is done in a moment. */
export const RATE = 8000;
const WINDOW_SECONDS = 0.02;
const WINDOW_SAMPLES = RATE * WINDOW_SECONDS;
const FULL_SCALE = 32_768;
/** Two channels of 16 bits. */
const FRAME_BYTES = 4;

/** A mix is looked at half a second at a time. */
const BLOCK_WINDOWS = 25;
/** What is heard at all, in dB of full scale. */
const AUDIBLE_DB = -55;
/** A voice on one channel only loses 6 dB in a mix; what loses more is lost to the other channel. */
const CANCELLED_DB = 9;
const CANCELLED_SHARE = 0.05;
/** The noise of a microphone that is switched off, and of 16 bits. */
const SILENT_DB = -60;

/** What was heard of a track, as it was decoded. */
export interface Heard {
  seconds: number;
  /** The loudest moment, in dB of full scale. */
  loudestDb: number;
  isSilent: boolean;
  /** The channel to take because the mix of both loses what is on them; undefined: they can be mixed. */
  onlyChannel: "left" | "right" | undefined;
  windowSeconds: number;
  /** Loudness of each window in dB of full scale, of what is to be taken. */
  levels: readonly number[];
}

/** Listens to 16-bit stereo sound (little-endian, at `RATE`) piece by piece, and keeps its loudness only. */
export class Listener {
  private rest: Buffer = Buffer.alloc(0);
  private frames = 0;
  private samples = 0;
  private readonly sums = { left: 0, right: 0, mix: 0 };
  /** Mean squares of each window. */
  private readonly left: number[] = [];
  private readonly right: number[] = [];
  private readonly mix: number[] = [];

  /** @returns whether there was something */
  take(chunk: Buffer): boolean {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const end = bytes.length - (bytes.length % FRAME_BYTES);
    for (let at = 0; at < end; at += FRAME_BYTES) {
      const left = bytes.readInt16LE(at) / FULL_SCALE;
      const right = bytes.readInt16LE(at + 2) / FULL_SCALE;
      const mix = (left + right) / 2;
      this.sums.left += left * left;
      this.sums.right += right * right;
      this.sums.mix += mix * mix;
      this.samples += 1;
      if (this.samples === WINDOW_SAMPLES) this.closeWindow();
    }
    this.frames += end / FRAME_BYTES;
    this.rest = bytes.subarray(end);
    return chunk.length > 0;
  }

  heard(): Heard {
    if (this.samples > 0) this.closeWindow();
    const onlyChannel = this.isCancelled() ? (total(this.right) > total(this.left) ? "right" : "left") : undefined;
    const levels = (onlyChannel === undefined ? this.mix : this[onlyChannel]).map(decibels);
    const loudestDb = levels.reduce((most, level) => Math.max(most, level), Number.NEGATIVE_INFINITY);
    const isSilent = loudestDb < SILENT_DB;
    return {
      seconds: this.frames / RATE,
      loudestDb,
      isSilent,
      onlyChannel,
      windowSeconds: WINDOW_SECONDS,
      levels,
    };
  }

  private closeWindow(): void {
    for (const channel of ["left", "right", "mix"] as const) {
      this[channel].push(this.sums[channel] / this.samples);
      this.sums[channel] = 0;
    }
    this.samples = 0;
  }

  private isCancelled(): boolean {
    let audible = 0;
    let cancelled = 0;
    for (let at = 0; at < this.mix.length; at += BLOCK_WINDOWS) {
      const level = (windows: number[]) => {
        const block = windows.slice(at, at + BLOCK_WINDOWS);
        return decibels(total(block) / block.length);
      };
      const loudest = Math.max(level(this.left), level(this.right));
      if (loudest < AUDIBLE_DB) continue;
      audible += 1;
      if (level(this.mix) < loudest - CANCELLED_DB) cancelled += 1;
    }
    return cancelled > audible * CANCELLED_SHARE;
  }
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function decibels(meanSquare: number): number {
  return 10 * Math.log10(Math.max(meanSquare, 1e-12));
}
