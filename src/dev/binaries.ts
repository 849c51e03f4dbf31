import { execFile, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { access, constants, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, delimiter, join } from "node:path";
import { promisify } from "node:util";
import { messageOf } from "../lib/text.ts";

/** Prints one line of what is being done. */
export type Say = (line: string) => void;

/** A program that c3-render can run and, if need be, get. */
export interface Program {
  /** Its file name. */
  name: string;
  version: string;
  /** Its path, from the environment. */
  configuredPath: string | undefined;
  /** The variable that `configuredPath` comes from. */
  variable: string;
  /** What Go builds it from, without the version. */
  goModule: string;
  /** Modules that it is built with in newer versions than it asks for itself, as `path@version`. */
  goNewer?: readonly string[];
  /** Gets it into `folder` without a compiler, and says where it is. */
  download?: (folder: string) => Promise<string>;
}

const MINIMUM_GO = [1, 25] as const;
const STILL_BUILDING_MS = 30_000;

/** Where programs are kept between starts. */
export function cacheFolder(env: Record<string, string | undefined>): string {
  return join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "c3-render");
}

/**
 * Finds a program: configured path, then `PATH`, then the cache; else gets it, by download or with Go.
 * @returns the path of an executable file
 * @throws an error that lists what was tried and how to get the program
 */
export async function findProgram(
  program: Program,
  env: NodeJS.ProcessEnv,
  say: Say,
  signal?: AbortSignal,
): Promise<string> {
  const { name, version, variable } = program;
  const installed = await installedProgram(program, env);
  if (installed !== undefined) return installed;
  const folder = cacheFolder(env);
  const cached = cachedPath(program, env);
  await mkdir(folder, { recursive: true });
  const tried = [`${name} on the PATH`, `${cached}`];
  for (const get of [download, build]) {
    try {
      return await get({ program, folder, cached, env, say, signal });
    } catch (error) {
      signal?.throwIfAborted();
      tried.push(messageOf(error));
    }
  }
  throw new Error(
    [
      `${name} was not found and could not be had. Tried:`,
      ...tried.map((line) => `  - ${line}`),
      `Put it on the PATH or set ${variable}; with Go ${MINIMUM_GO.join(".")} or newer: go install ${program.goModule}@v${version}`,
    ].join("\n"),
  );
}

/**
 * Finds a program, but does not get it: configured path, then `PATH`, then the cache.
 * @throws when the configured path is no program
 */
export async function installedProgram(program: Program, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const { name, variable, configuredPath } = program;
  if (configuredPath !== undefined) {
    if (await isExecutable(configuredPath)) return configuredPath;
    throw new Error(`${variable}: ${configuredPath} is not an executable file`);
  }
  const onPath = (env.PATH ?? "").split(delimiter).map((entry) => join(entry, name));
  for (const path of [...onPath, cachedPath(program, env)]) {
    if (await isExecutable(path)) return path;
  }
  return undefined;
}

/** A program that is built with other modules is another one. */
function cachedPath({ name, version, goNewer = [] }: Program, env: NodeJS.ProcessEnv): string {
  const newer = goNewer.map((module) => `-${basename(module).replace("@v", "-")}`);
  return join(cacheFolder(env), `${name}-${version}${newer.join("")}`);
}

/** What getting a program needs. */
interface Wanted {
  program: Program;
  /** Where it is put, and under which path. */
  folder: string;
  cached: string;
  env: NodeJS.ProcessEnv;
  say: Say;
  signal: AbortSignal | undefined;
}

async function download({ program, folder, cached, say }: Wanted) {
  if (program.download === undefined) throw new Error("no download is known");
  say(`Downloading ${program.name} ${program.version} …`);
  try {
    await rename(await program.download(folder), cached);
    return cached;
  } catch (error) {
    say(`  cannot be downloaded here (${reasonOf(error)})`);
    throw new Error(`a download: ${reasonOf(error)}`, { cause: error });
  }
}

/** Builds into a folder of its own, so that two processes that build at once do not get in each other's way. */
async function build({ program, folder, cached, env, say, signal }: Wanted) {
  await checkGo();
  const { name, version, goModule, goNewer = [] } = program;
  say(`Building ${name} ${version} with Go: takes minutes, once; then it is kept in ${folder} …`);
  const workFolder = await mkdtemp(join(folder, "build-"));
  const startedAt = performance.now();
  const minutes = () => ((performance.now() - startedAt) / 60_000).toFixed(1);
  const ticker = setInterval(() => say(`  still building ${name} (${minutes()} min)`), STILL_BUILDING_MS);
  try {
    // In a module of its own: `go install` takes a program with the versions that it asks for, and no others.
    for (const args of [
      ["mod", "init", "c3-render.invalid/build"],
      ["get", `${goModule}@v${version}`, ...goNewer],
      ["build", "-o", name, goModule],
    ]) {
      await runGo(args, { cwd: workFolder, env, signal });
    }
    await rename(join(workFolder, name), cached);
    say(`  built ${name} in ${minutes()} min`);
    return cached;
  } finally {
    clearInterval(ticker);
    await rm(workFolder, { recursive: true, force: true });
  }
}

async function runGo(args: string[], options: Pick<SpawnOptions, "cwd" | "env" | "signal">): Promise<void> {
  const go = spawn("go", args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
  let output = "";
  go.stderr?.setEncoding("utf8").on("data", (text: string) => {
    output = (output + text).slice(-2000);
  });
  const [code] = await once(go, "close");
  if (code !== 0) throw new Error(`go ${args[0]} ended with code ${code}: ${output.trim().split("\n").at(-1)}`);
}

async function checkGo(): Promise<void> {
  let stdout: string;
  try {
    ({ stdout } = await promisify(execFile)("go", ["env", "GOVERSION"]));
  } catch (error) {
    throw new Error("building it: there is no Go", { cause: error });
  }
  const [major = 0, minor = 0] = stdout.replace("go", "").trim().split(".").map(Number);
  const newEnough = major > MINIMUM_GO[0] || (major === MINIMUM_GO[0] && minor >= MINIMUM_GO[1]);
  if (!newEnough) throw new Error(`building it: Go ${MINIMUM_GO.join(".")} is needed, this is ${stdout.trim()}`);
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** The last of the reasons that an error strings together: the one that says what happened. */
function reasonOf(error: unknown): string {
  const [line = ""] = messageOf(error).split("\n");
  return line.split(": ").at(-1)?.slice(0, 120) ?? "";
}
