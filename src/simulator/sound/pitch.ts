import { type Pcm, SAMPLE_RATE } from "./media.ts";

const LOWEST_HZ = 70;
const HIGHEST_HZ = 300;
const WINDOW = 2048;

/** The pitch of a voice in hertz, by autocorrelation over its loudest part; undefined for silence and noise. */
export function pitchOf(sound: Pcm): number | undefined {
  const start = loudestWindow(sound);
  const energy = correlation(sound, start, 0);
  if (energy === 0) return undefined;
  let best = { lag: 0, strength: 0.3 * energy };
  for (let lag = Math.floor(SAMPLE_RATE / HIGHEST_HZ); lag <= SAMPLE_RATE / LOWEST_HZ; lag += 1) {
    const strength = correlation(sound, start, lag);
    if (strength > best.strength) best = { lag, strength };
  }
  return best.lag === 0 ? undefined : SAMPLE_RATE / best.lag;
}

function loudestWindow(sound: Pcm): number {
  let loudest = { start: 0, energy: -1 };
  for (let start = 0; start + 2 * WINDOW < sound.length; start += WINDOW) {
    const energy = correlation(sound, start, 0);
    if (energy > loudest.energy) loudest = { start, energy };
  }
  return loudest.start;
}

function correlation(sound: Pcm, start: number, lag: number): number {
  let sum = 0;
  for (let index = start; index < start + WINDOW; index += 1) sum += (sound[index] ?? 0) * (sound[index + lag] ?? 0);
  return sum;
}
