import type { AnalyzeInput } from "./kinds/analyze.ts";
import type { LipsyncInput } from "./kinds/lipsync.ts";
import type { PortraitInput } from "./kinds/portrait.ts";
import type { WhisperInput } from "./kinds/whisper.ts";
import type { SpeechInput } from "./speech.ts";
import type { FinalState, JobStage, JobState } from "./states.ts";
import type { Priority } from "./submission.ts";

/** What the jobs of each type are asked to do. A new kind of job is a new line here. */
export interface JobInputs {
  csm: SpeechInput;
  whisper: WhisperInput;
  portrait: PortraitInput;
  analyze: AnalyzeInput;
  lipsync: LipsyncInput;
}

export type JobType = keyof JobInputs;
export const jobTypes = ["csm", "whisper", "portrait", "analyze", "lipsync"] as const satisfies readonly JobType[];

/** A job as it was accepted: the argument of its workflow. */
export type JobSpec = { [T in JobType]: JobCommon & { type: T; input: JobInputs[T] } }[JobType];

interface JobCommon {
  /** UUID */
  id: string;
  tenant: string;
  priority: Priority;
  /** The tenant's share of the GPUs, in relation to that of others; 1 when absent. */
  weight?: number;
  /** Epoch milliseconds. */
  createdAt: number;
  /** Epoch milliseconds; fixed at submission from `complete_in`. */
  completeBy: number;
  /** The effective `max_time`: the client's, cut to the operator's ceiling. */
  maxTimeSeconds: number;
  /** The workload type whose pool lends it a GPU; absent for jobs that run elsewhere. */
  gpuType?: string;
  notifyUrl?: string;
  metadata?: Record<string, unknown>;
  /** Of what was asked for under an idempotency key. */
  fingerprint?: string;
}

/** A file in the object store. */
export interface StoredFile {
  key: string;
  mimeType: string;
  bytes: number;
  /** Seconds of sound or video. */
  durationSeconds?: number;
}

/** The GPU instance that a job ran on last. */
export interface JobGpu {
  /** The id of the manager workflow that owns the instance. */
  id: string;
  node: string;
  type: string;
}

/** The time of instances that is charged to a job, in milliseconds, and the money. */
export interface JobUsage {
  /** Of the instances that it was the first to use. */
  bootMs: number;
  /** Before it, with nobody using them. */
  idleMs: number;
  busyMs: number;
  /** Absent when an instance's rate is not known. */
  cost?: number;
}

/**
 * What everybody may know of a job: kept in the memo of its workflow (key `view`), so that a status can be
 * read with no worker running. Small, because every list returns it; times are ISO 8601 UTC.
 */
export interface JobView {
  id: string;
  type: JobType;
  tenant: string;
  state: JobState;
  stage?: JobStage;
  /** A sentence; present for `failed`, `timed_out` and `cancelled`. */
  error?: string;
  createdAt: string;
  startedAt?: string;
  finishedAt?: string;
  completeBy: string;
  maxTimeSeconds: number;
  /** How many GPUs were granted so far. */
  attempts: number;
  gpu?: JobGpu;
  /** What it had of GPUs, over all attempts. */
  usage?: JobUsage;
  /** The result first, then what else came of the job. */
  files: StoredFile[];
  /** Where a lip-sync function says that its result lies; not everything it names can be fetched. */
  outputPath?: string;
  timeline: TimelineEntry[];
}

/** What is kept of a job: in the memo of its workflow, and later in the object store. */
export interface StoredJob {
  view: JobView;
  metadata?: Record<string, unknown> | null;
  fingerprint?: string | null;
}

export interface TimelineEntry {
  /** Counts from 1. */
  id: number;
  at: string;
  state: JobState;
  stage?: JobStage;
  /** A few plain words, such as `waiting for a GPU`. */
  event: string;
}

/** How a job ended; the first recorded ending wins. */
export interface JobEnding {
  state: FinalState;
  error?: string;
}

/** The result of a job's workflow when it completes. */
export interface JobResult {
  /** The result first. A text result is a file, too. */
  files: StoredFile[];
  /** A short text result, for whoever looks at the workflow. */
  text?: string;
  outputPath?: string;
}

const TIMELINE_LIMIT = 50;

/** The view of a job at the moment it is accepted. */
export function initialView(job: JobSpec): JobView {
  return {
    id: job.id,
    type: job.type,
    tenant: job.tenant,
    state: "queued",
    createdAt: new Date(job.createdAt).toISOString(),
    completeBy: new Date(job.completeBy).toISOString(),
    maxTimeSeconds: job.maxTimeSeconds,
    attempts: 0,
    files: [],
    timeline: [{ id: 1, at: new Date(job.createdAt).toISOString(), state: "queued", event: "accepted" }],
  };
}

/** `view` with one more event at `nowMs`; the oldest ones after the first go when there are too many. */
export function withEvent(view: JobView, nowMs: number, event: string): JobView {
  const { state, stage, timeline } = view;
  const id = (timeline.at(-1)?.id ?? 0) + 1;
  const entry = { id, at: new Date(nowMs).toISOString(), state, ...(stage !== undefined && { stage }), event };
  const [first, ...rest] = [...timeline, entry];
  return { ...view, timeline: first === undefined ? [] : [first, ...rest.slice(-(TIMELINE_LIMIT - 1))] };
}
