/** The traces of the scheduling benchmark: a day of jobs each, made again from a seed. */
export interface TraceJob {
  /** Seconds from the start of the day. */
  at: number;
  kind: string;
  /** Seconds on the GPU. */
  service: number;
}

export const DAY = 86_400;

export type Random = () => number;

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function exponential(random: Random, mean: number): number {
  return -mean * Math.log(1 - random());
}

interface Mix {
  kind: string;
  share: number;
  fixed: number;
  exponential: number;
}

const mix: readonly Mix[] = [
  { kind: "csm", share: 0.5, fixed: 5, exponential: 10 },
  { kind: "whisper", share: 0.3, fixed: 8, exponential: 20 },
  { kind: "analyze", share: 0.15, fixed: 3, exponential: 4 },
  { kind: "portrait", share: 0.05, fixed: 120, exponential: 180 },
];

export const meanService = mix.reduce((sum, one) => sum + one.share * (one.fixed + one.exponential), 0);

/** What is expected of a job before anything was learnt: for each kind wrong by a factor of its own. */
export const expectedSeconds: Record<string, number> = { csm: 9, whisper: 20, analyze: 20, portrait: 200 };

export function jobAt(at: number, random: Random): TraceJob {
  let left = random();
  const found = mix.find((one) => {
    left -= one.share;
    return left < 0;
  });
  const { kind, fixed, exponential: mean } = found ?? mix[0]!;
  return { at, kind, service: fixed + exponential(random, mean) };
}

/** Poisson arrivals whose rate (per second) changes over time and is never above `most`: by thinning. */
function poisson(random: Random, most: number, rate: (at: number) => number): TraceJob[] {
  const jobs: TraceJob[] = [];
  for (let at = exponential(random, 1 / most); at < DAY; at += exponential(random, 1 / most)) {
    if (random() * most < rate(at)) jobs.push(jobAt(at, random));
  }
  return jobs;
}

function bursts(random: Random): TraceJob[] {
  const jobs: TraceJob[] = [];
  for (let at = exponential(random, 300); at < DAY; at += exponential(random, 300)) {
    const size = 1 + Math.floor(60 * random() * random());
    for (let one = 0; one < size; one += 1) jobs.push(jobAt(at + 5 * random(), random));
  }
  return jobs.sort((a, b) => a.at - b.at);
}

const diurnalRate = (at: number) => (1 / 12) * (1 + Math.sin((2 * Math.PI * at) / DAY - 1.57)) + 1 / 600;

export const traces = {
  sparse: (random: Random) => poisson(random, 1 / 240, () => 1 / 240),
  steady: (random: Random) => poisson(random, 1 / 8, () => 1 / 8),
  diurnal: (random: Random) => poisson(random, 1 / 6 + 1 / 600, diurnalRate),
  bursty: bursts,
};
