/** What a call of a model came to, whatever the protocol. Only `broken` counts against the node. */
export type ModelFailureKind =
  /** It was refused before it ran. */
  | "refused"
  /** A living application said that it failed, in words of its own. They may tell that the node is broken. */
  | "failed"
  /** The node cannot render, whoever asks. */
  | "broken"
  /** The model could not be asked, or its answer was lost; asking again can help. */
  | "transport";

/** Of what a model says when it fails: the first and the last of it tell why. */
const KEPT_AT_EACH_END = 8192;

/** A call that did not succeed. The message of `failed` is as the model gave it; the others are sentences for people. */
export class ModelFailure extends Error {
  override name = "ModelFailure";
  readonly kind: ModelFailureKind;
  constructor(kind: ModelFailureKind, message: string, options?: ErrorOptions) {
    super(endsOf(message), options);
    this.kind = kind;
  }
}

function endsOf(text: string): string {
  if (text.length <= 2 * KEPT_AT_EACH_END) return text;
  return `${text.slice(0, KEPT_AT_EACH_END)}\n…\n${text.slice(-KEPT_AT_EACH_END)}`;
}

/** Every job would fail on a node that does not take the key. */
export function keyRefused(status: number): ModelFailure {
  return new ModelFailure("broken", `the node refused the API key (${status})`);
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
