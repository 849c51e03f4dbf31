/** Failure types (`ApplicationFailure.type`) that the workflows tell apart. */
export const failureTypes = {
  /** An input is not what it should be. The message names the field. Not retried. */
  invalidInput: "InvalidInput",
  /** The model refused what it was asked to do; the node is fine. Not retried. */
  modelRefused: "ModelRefused",
  /** The model failed on the node. Not retried on the same node. */
  modelFailed: "ModelFailed",
} as const;
