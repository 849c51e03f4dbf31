/** Failure types (`ApplicationFailure.type`) that the workflows tell apart. */
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
  /** The worker itself is in trouble, not the node. Retried. */
  workerFailed: "WorkerFailed",
} as const;
