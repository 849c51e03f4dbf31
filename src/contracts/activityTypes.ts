import type { InputName } from "../jobs/inputs.ts";
import type { StoredFile } from "../jobs/job.ts";

/** An input of a job, downloaded, checked, prepared and stored. */
export interface PreparedInput extends StoredFile {
  name: InputName;
  /**
   * Of the recording of a voice, which is cut to what the model can use (`durationSeconds`): how long it is as a whole, from
   * the first word to the last, in seconds.
   */
  wholeSeconds?: number;
  /** Where in that recording the part begins that was kept: at its first word. */
  startSeconds?: number;
}

/** A file that a model left on its node, to be fetched from there. */
export interface RemoteFile {
  /** The object key that it is stored under. */
  key: string;
  /** On the leased node; fetched with the provider's API key. */
  url: string;
  mimeType: string;
}

/** What a model run left behind. */
export interface RunResult {
  /** Still on the node. */
  files: RemoteFile[];
  /** In the store already. */
  stored?: StoredFile[];
  /** The text that came of it; already stored. */
  text?: StoredText;
}

export interface StoredText {
  file: StoredFile;
  /** The text itself when it is short. */
  inline?: string;
}

/** An instance that the provider does not run any more. */
export interface EndedInstance {
  workload: string;
  node: string;
  /** Epoch seconds at which the provider began to count. */
  created: number;
  /** Epoch milliseconds at which it stopped counting. */
  stoppedAt: number;
  /** What the provider gave back, when it said so. */
  refundAmount?: number;
}

/** The details of the failure that a launch ends with. */
export interface LaunchEnd {
  /** No instance can have come of it: there is none to be stopped. */
  nothingLaunched: boolean;
}

/** The progress of a model run, as its heartbeat carries it. */
export interface RunProgress {
  /** 0–1, or null when the model does not say. */
  progress: number | null;
  /** A few words, such as `waiting in the node's queue`. */
  detail: string;
}

/** The details of the `CancelledFailure` that a cancelled run ends with. */
export interface RunCancelled {
  /** Nothing of the run goes on on the node: the next job may have it. */
  nodeIdle: boolean;
}

/** Of the webhooks that are to be sent again: those that were given up in a span of time, ISO 8601. */
export interface ReplayRequest {
  since: string;
  until: string;
}

export interface ReplayReport {
  /** Runs of the list that were looked at. */
  seen: number;
  /** Webhooks that were sent again. */
  replayed: number;
}
