import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ffmpegInstaller from "@ffmpeg-installer/ffmpeg";
import { freePort } from "../../src/dev/temporalServer.ts";
import { eventually } from "./eventually.ts";

/** What a run was asked for, and what came of it. */
export interface GradioRun {
  id: string;
  app: "csm" | "whisper";
  arguments: Record<string, unknown>;
  /** Epoch seconds. */
  startedAt: number;
  finishedAt?: number;
  /** null: it went well. */
  error?: string | null;
  /** What was spoken, and how many tokens of the window that took. */
  items: { speaker: number; text: string; hertz: number; seconds: number; context: number }[];
  reference?: { seconds: number; channels: number; bytes: number };
  recording?: { seconds: number; channels: number; bytes: number };
}

/** See `DEFAULTS` in test/conformance/apps/control.py. */
export interface GradioSettings {
  key: string;
  hold: boolean;
  seconds: number;
  fail: { how: "gr.Error" | "exception" | "text"; message: string } | null;
  fail_after: number;
  queue_size: number | null;
  file_name: string | null;
  result: "mp3" | "wav" | "none";
  result_bytes: number;
  detected_language: string;
  transcript: string | null;
  speaker_model: boolean;
  refuse: { contains: string; status: number; times: number } | null;
}

/** How a file was asked for, or a call was made. */
export interface GradioRequest {
  path: string;
  acceptEncoding: string;
  status: number;
  contentEncoding: string;
}

export interface GradioNode {
  /** Without a trailing slash; the applications are at `/csm/` and `/whisper/`. */
  url: string;
  set(settings: Partial<GradioSettings>): Promise<void>;
  /** Settings as they were, and nothing written down. */
  reset(): Promise<void>;
  runs(): Promise<GradioRun[]>;
  requests(): Promise<GradioRequest[]>;
  /** Cuts every event stream that is open. @returns how many */
  dropStreams(): Promise<number>;
  /** SIGKILL, and another process in its place: queue, sessions and settings are gone. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  output(): string;
}

const START_TIMEOUT_MS = 120_000;
const program = fileURLToPath(new URL("../conformance/apps/node.py", import.meta.url));

/** Starts a node with real Gradio applications. Resolves when it answers. */
export async function startGradioNode(python: string): Promise<GradioNode> {
  const folder = await mkdtemp(join(tmpdir(), "c3-render-gradio-"));
  const port = await freePort(0, "Gradio", () => {});
  const url = `http://127.0.0.1:${port}`;
  let output = "";
  let child = await start();

  async function start(): Promise<ChildProcess> {
    const started = spawn(python, [program, String(port)], {
      // It ends when its standard input does, which is when this process does.
      stdio: ["pipe", "pipe", "pipe"],
      cwd: folder,
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        TMPDIR: folder,
        FFMPEG: process.env.FFMPEG_PATH ?? ffmpegInstaller.path,
        // It calls home otherwise, and waits for the answer.
        GRADIO_ANALYTICS_ENABLED: "False",
        HF_HUB_OFFLINE: "1",
        PYTHONDONTWRITEBYTECODE: "1",
      },
    });
    for (const stream of [started.stdout, started.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-20_000);
      });
    }
    const answers = async () => {
      if (started.exitCode !== null) throw new Error(`the Gradio node ended at its start: ${output}`);
      return await fetch(url).then(
        ({ ok }) => ok || undefined,
        () => undefined,
      );
    };
    await eventually("the Gradio node answers", answers, START_TIMEOUT_MS);
    return started;
  }

  async function end(): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  async function control<T>(path: string, body?: unknown): Promise<T> {
    const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
    const response = await fetch(`${url}/control/${path}`, init);
    if (!response.ok) throw new Error(`the Gradio node answered ${response.status} to ${path}: ${output}`);
    return (await response.json()) as T;
  }

  return {
    url,
    set: (settings) => control("settings", settings),
    reset: () => control("reset", {}),
    runs: () => control("runs"),
    requests: () => control("requests"),
    dropStreams: async () => (await control<{ dropped: number }>("drop-streams", {})).dropped,
    async restart() {
      await end();
      child = await start();
    },
    async stop() {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
    output: () => output,
  };
}
