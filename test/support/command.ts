import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { eventually } from "./eventually.ts";

/** A command of the project in a process group of its own, as a terminal or a process manager starts it. */
export interface Command {
  child: ChildProcess;
  output(): string;
  until(text: string | RegExp, timeoutMs?: number): Promise<string>;
  /** To every process of the group: what a terminal does. */
  signalGroup(signal: NodeJS.Signals): void;
  /** To the process that was started, only. */
  signal(signal: NodeJS.Signals): void;
  /** Resolves when it has ended and its output was read. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Whether any process of the group still runs. */
  isGroupAlive(): boolean;
}

const project = fileURLToPath(new URL("../../", import.meta.url));
/** What runs TypeScript, for `--import` in a process that starts in another folder. */
export const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href;

/** @param file below `src/`. It runs in `cwd`, so that a `.env` of the project is not read */
export function startDirectly(file: string, env: NodeJS.ProcessEnv, cwd: string, args: string[] = []): Command {
  return start(process.execPath, ["--import", tsx, `${project}src/${file}`, ...args], env, cwd);
}

/** A script of package.json. */
export function startByNpm(script: string, env: NodeJS.ProcessEnv): Command {
  return start("npm", ["run", script], env, project);
}

function start(program: string, args: string[], env: NodeJS.ProcessEnv, cwd: string): Command {
  const { PATH, HOME, XDG_CACHE_HOME, TEMPORAL_CLI_PATH } = process.env;
  const child = spawn(program, args, {
    cwd,
    env: { PATH, HOME, XDG_CACHE_HOME, TEMPORAL_CLI_PATH, ...env },
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  let isOver = false;
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once("close", (code, signal) => {
      isOver = true;
      resolve({ code, signal });
    });
  });
  return {
    child,
    output: () => output,
    until: (text, timeoutMs) =>
      eventually(
        `${text} in the output`,
        () => {
          const found = typeof text === "string" ? (output.includes(text) ? text : undefined) : text.exec(output)?.[0];
          if (found === undefined && isOver) throw new Error(`it ended without ${text}: ${output}`);
          return found;
        },
        timeoutMs,
      ),
    signalGroup: (signal) => void process.kill(-(child.pid ?? 0), signal),
    signal: (signal) => void child.kill(signal),
    ended,
    isGroupAlive() {
      try {
        return process.kill(-(child.pid ?? 0), 0);
      } catch {
        return false;
      }
    },
  };
}
