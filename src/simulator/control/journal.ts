/** One request as it was answered. */
export interface Call {
  /** Epoch milliseconds. */
  at: number;
  service: string;
  node: string | undefined;
  method: string;
  path: string;
  /** Undefined when the connection was closed instead. */
  status: number | undefined;
  /** What was done to it, if a fault hit it. */
  fault?: string;
}

/** One run of a model, from the moment it has the GPU to itself. Times are epoch milliseconds. */
export interface Render {
  /** The id that the protocol gives it, such as Gradio's event id. */
  id: string;
  node: string;
  kind: string;
  startedAt: number;
  finishedAt?: number;
  outcome?: "success" | "error" | "lost" | "interrupted";
  /** What the model was called with, as it arrived. */
  arguments: Record<string, unknown>;
  /** The reference voice, as it arrived. */
  reference?: { name: string; bytes: number; channels: number };
  /** The sound, as it arrived. */
  file?: { bytes: number };
}

export type Journal = ReturnType<typeof createJournal>;

/** Everything that happened, for tests and failure drills. */
export function createJournal() {
  const calls: Call[] = [];
  const renders: Render[] = [];
  return {
    calls,
    renders,
    call: (call: Call) => void calls.push(call),
    render(render: Render): Render {
      renders.push(render);
      return render;
    },
  };
}
