/** What a pool learns from what happens in it. Plain data of bounded size; times are epoch milliseconds. */
export interface Learnt {
  /** How long jobs took in relation to what was expected, the kind that was learnt last at the end. */
  kinds: KindTimes[];
  launch: { ms: number; seen: number };
  arrivals: Arrivals;
}

interface KindTimes {
  kind: string;
  /** Observed time by expected time. */
  ratio: number;
  seen: number;
  at: number;
}

/** A count that fades: by the time constant, it is the rate of arrivals. */
interface Arrivals {
  count: number;
  at: number;
}

export const MAX_KINDS = 50;
/** What an instance of Comput3 takes; nodes differ, so the first launch that is seen replaces it. */
const FIRST_LAUNCH_MS = 40_000;
/** A running mean of the first ten, then one that forgets: a tenth of the latest each time. */
const LEARNING_RATE = 0.1;
const MAX_RATIO = 20;
/** What was learnt longer ago does not condemn a job: nodes and models change. */
const STALE_MS = 3_600_000;
const ARRIVALS_FADE_MS = 600_000;

export function nothingLearnt(now: number): Learnt {
  return { kinds: [], launch: { ms: FIRST_LAUNCH_MS, seen: 0 }, arrivals: { count: 0, at: now } };
}

export function learnService(learnt: Learnt, kind: string, expectedMs: number, servedMs: number, now: number): void {
  if (!(expectedMs > 0) || !(servedMs >= 0)) return;
  const observed = Math.min(MAX_RATIO, Math.max(1 / MAX_RATIO, servedMs / expectedMs));
  const known = learnt.kinds.find((one) => one.kind === kind);
  const next = known ?? { kind, ratio: observed, seen: 0, at: now };
  const updated = { kind, ratio: learn(next.ratio, observed, next.seen), seen: next.seen + 1, at: now };
  learnt.kinds = [...learnt.kinds.filter((one) => one.kind !== kind), updated].slice(-MAX_KINDS);
}

export function learnLaunch(learnt: Learnt, ms: number): void {
  const { launch } = learnt;
  learnt.launch = { ms: learn(launch.ms, Math.max(0, ms), launch.seen), seen: launch.seen + 1 };
}

export function learnArrival(learnt: Learnt, now: number): void {
  learnt.arrivals = { count: faded(learnt.arrivals, now) + 1, at: now };
}

/** Jobs per millisecond, over about the last ten minutes. */
export function arrivalRate(learnt: Learnt, now: number): number {
  return faded(learnt.arrivals, now) / ARRIVALS_FADE_MS;
}

/** By kind: how long a job takes for each second that is expected of it; looked up once for a whole queue. */
export function serviceRatios(learnt: Learnt): (kind: string) => number {
  const ratios = new Map(learnt.kinds.map(({ kind, ratio }) => [kind, ratio]));
  return (kind) => ratios.get(kind) ?? 1;
}

/** Kinds of which enough is known, and lately enough, to say that a job will not end in time. */
export function knownKinds(learnt: Learnt, now: number): (kind: string) => boolean {
  const known = new Set(learnt.kinds.filter(({ at }) => at > now - STALE_MS).map(({ kind }) => kind));
  return (kind) => known.has(kind);
}

function learn(mean: number, observed: number, seen: number): number {
  return mean + (observed - mean) * Math.max(LEARNING_RATE, 1 / (seen + 1));
}

function faded({ count, at }: Arrivals, now: number): number {
  return count * Math.exp(-Math.max(0, now - at) / ARRIVALS_FADE_MS);
}
