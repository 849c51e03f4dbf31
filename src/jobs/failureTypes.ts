/** Failure types (`ApplicationFailure.type`) that the workflows tell apart, or whose message is written for the caller. */
export const failureTypes = {
  /** An input is not what it should be. The message names the field. Not retried. */
  invalidInput: "InvalidInput",
  /** The model refused what it was asked to do; the node is fine. Not retried. */
  modelRefused: "ModelRefused",
  /** The model ran and said that it failed; the node is fine. Not retried. */
  modelFailed: "ModelFailed",
  /** The node cannot render, whoever asks. It is not lent again. */
  nodeBroken: "NodeBroken",
  /** What the model made cannot be had from the node. Making it again may help. */
  resultLost: "ResultLost",
  /** The server of an input does not hand it over. Retried. */
  downloadFailed: "DownloadFailed",
  /** An input could not be prepared on this worker. Retried. */
  inputNotPrepared: "InputNotPrepared",
  /** The model could not be asked, or its answer was lost. Retried. */
  modelUnreachable: "ModelUnreachable",
  /** The server of a result does not hand it over. Retried. */
  resultUnreachable: "ResultUnreachable",
  /** What came of a result is not whole. Retried. */
  resultBroken: "ResultBroken",
  /** The job has used up the GPUs that it may use up. */
  gpuLost: "GpuLost",
  /** The worker itself is in trouble, not the node. Retried. */
  workerFailed: "WorkerFailed",
} as const;

/** The words of its failures are for the operator: they may hold paths, addresses and the like. */
const untold: ReadonlySet<string> = new Set([failureTypes.workerFailed]);
const told: ReadonlySet<string> = new Set(Object.values(failureTypes).filter((type) => !untold.has(type)));

/** Whether the message of a failure of that type may be shown to the job's caller. */
export function isTold(type: string | null | undefined): boolean {
  return typeof type === "string" && told.has(type);
}
