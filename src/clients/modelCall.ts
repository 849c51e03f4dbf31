/** What a call of a model came to, whatever the protocol. */
export type ModelFailureKind =
  /** It was refused before it ran. */
  | "refused"
  /** The model ran and failed. */
  | "failed"
  /** The model could not be asked, or its answer was lost; asking again can help. */
  | "transport";

/** A call that did not succeed; the message is a sentence for people. */
export class ModelFailure extends Error {
  override name = "ModelFailure";
  readonly kind: ModelFailureKind;
  constructor(kind: ModelFailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** A call that was given up because its signal said so. */
export class ModelAborted extends Error {
  override name = "ModelAborted";
  /** Nothing of the call runs on the node any more. */
  readonly nodeIdle: boolean;
  constructor(nodeIdle: boolean, options?: ErrorOptions) {
    super("the call was given up", options);
    this.nodeIdle = nodeIdle;
  }
}

/** @param progress 0–1, or null when the model does not say */
export type OnProgress = (progress: number | null, detail: string) => void;

/** Why something could not be reached, in a few words. */
export function reasonOf(error: unknown): string {
  if (error === undefined) return "no reason given";
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}
