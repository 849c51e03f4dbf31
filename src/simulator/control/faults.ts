import { z } from "zod";

/** The services that can be made to fail. */
export const services = ["comput3", "node", "csm", "whisper", "comfyui", "ollama", "modal"] as const;
export type Service = (typeof services)[number];

const actions = [
  /** Answers `status` (default 503) with JSON. */
  "status",
  /** Answers `status` (default 503) with the page of a content delivery network. */
  "html_error",
  /** Waits `delay_ms`, then goes on. */
  "delay",
  /** Never answers. */
  "hang",
  /** Does the work and closes the connection instead of answering. */
  "drop_reply",
  /** Resets the connection at once. */
  "reset",
  /** Announces the whole answer and sends half of it. */
  "truncate",
  /** Answers with an HTML page and status 200. */
  "wrong_mime",
  /** The model fails; a failure of the function, not of the transport. */
  "render_error",
  /** The event stream ends after the start of the run, without `close_stream`. */
  "end_stream_early",
  /** The same, after a word of the server's own: `unexpected_error` with some text. */
  "unexpected_error",
  /** ComfyUI is killed while it writes the video: half of it stays, and a server that knows nothing starts. */
  "half_file",
  /** Gradio announces another host as its root. */
  "foreign_root",
] as const;

/** These happen once, at once, to `node` (or every node). */
const events = ["kill_node", "vanish", "restart_app"] as const;

export const faultSchema = z.object({
  service: z.enum(services),
  action: z.enum([...actions, ...events]),
  /** Only requests whose path contains it. */
  path: z.string().optional(),
  node: z.string().optional(),
  status: z.number().int().min(200).max(599).optional(),
  delay_ms: z.number().min(0).optional(),
  /** How often it happens; until it is removed when left out. */
  times: z.number().int().positive().optional(),
  probability: z.number().min(0).max(1).default(1),
});

export type Fault = z.infer<typeof faultSchema>;
export type FaultAction = Fault["action"];

export interface FaultTarget {
  service: Service;
  path: string;
  node?: string | undefined;
}

export type Faults = ReturnType<typeof createFaults>;

/** The faults that are set, and how often each may still happen. */
export function createFaults() {
  let faults: Fault[] = [];

  function matches(fault: Fault, target: FaultTarget): boolean {
    return (
      fault.service === target.service &&
      target.path.includes(fault.path ?? "") &&
      (fault.node === undefined || fault.node === target.node)
    );
  }

  return {
    add(fault: Fault): void {
      faults.push(fault);
    },
    list: () => faults,
    clear(): void {
      faults = [];
    },
    /** The first fault of one of `actions` that hits `target` now; it is used up by that. */
    take(target: FaultTarget, wanted: readonly FaultAction[]): Fault | undefined {
      const fault = faults.find((candidate) => wanted.includes(candidate.action) && matches(candidate, target));
      if (fault === undefined || Math.random() >= fault.probability) return undefined;
      if (fault.times !== undefined) {
        fault.times -= 1;
        if (fault.times === 0) faults = faults.filter((candidate) => candidate !== fault);
      }
      return fault;
    },
  };
}
