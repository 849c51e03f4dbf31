import type { Service } from "../control/faults.ts";

/** A parameter of the app's function, in its order. */
export interface Parameter {
  name: string;
  component: string;
  /** Undefined: the client must send one. */
  initial?: unknown;
}

/** A file that the function made, on the disk of the node. */
export interface MadeFile {
  file: string;
}

/** What a function returns: a value, a file, or several files, as the component of that place wants it. */
export type Output = string | MadeFile | MadeFile[];

export interface Run {
  id: string;
  node: string;
  /** By name. Files are paths on the disk of the node. */
  arguments: Record<string, unknown>;
  progress: (index: number, length: number, description: string) => void;
}

/** Versions of Gradio that were run and compared with this: 4.44.1, 5.50.0 and 6.31.0. */
export type GradioVersion = "4.44" | "5.50" | "6.31";

/** A Gradio app with one function. */
export interface GradioApp {
  service: Service;
  endpoint: string;
  parameters: Parameter[];
  /** The components that show its outputs. */
  outputs: string[];
  /** What Gradio itself checks before the function runs: the sentence it complains with. */
  validate(args: Record<string, unknown>, version: GradioVersion): string | undefined;
  /** @throws GradioError with the words that the caller reads; anything else arrives as null */
  run(run: Run): Promise<Output[]>;
  /** How the app reports a failure, if it does not raise it. */
  failure?(reason: string): Output[];
}

/** What an app raises on purpose. */
export class GradioError extends Error {
  override name = "GradioError";
}
