import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, constants, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "../../src/dev/binaries.ts";

const MINIMUM = [3, 10] as const;
const INSTALL_TIMEOUT_MS = 15 * 60_000;
const run = promisify(execFile);

/**
 * A Python with the packages of a requirements file. Its virtual environment is kept beside the Temporal server: pip takes
 * a minute or two, once. The name has a hash of the file in it, so that other pins make another environment.
 * @returns the interpreter; undefined, and a line that says why, where there is none, but with CI=true that is an error
 */
export async function pythonWith(requirements: string): Promise<string | undefined> {
  try {
    return await findEnvironment(requirements);
  } catch (error) {
    if (process.env.CI === "true") throw error;
    const reason = error instanceof Error ? error.message.trim().split("\n").at(-1) : error;
    console.log(`Tests on ${basename(requirements, ".txt")} are skipped: ${reason}`);
    return undefined;
  }
}

async function findEnvironment(requirements: string): Promise<string> {
  const pins = createHash("sha256")
    .update(await readFile(requirements))
    .digest("hex")
    .slice(0, 8);
  const cache = cacheFolder(process.env);
  const folder = join(cache, `${basename(requirements, ".txt")}-${pins}`);
  const python = join("bin", "python");
  if (await isExecutable(join(folder, python))) return join(folder, python);
  const system = await systemPython();
  console.log(
    `Installing ${basename(requirements, ".txt")} for the conformance tests, once; it is kept in ${folder} …`,
  );
  await mkdir(cache, { recursive: true });
  const building = await mkdtemp(join(cache, "python-"));
  try {
    await run(system, ["-m", "venv", building]);
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements];
    await run(join(building, python), pip, { timeout: INSTALL_TIMEOUT_MS });
    await rename(building, folder);
  } catch (error) {
    // Another run may have been quicker.
    if (!(await isExecutable(join(folder, python)))) throw error;
  } finally {
    await rm(building, { recursive: true, force: true });
  }
  return join(folder, python);
}

async function systemPython(): Promise<string> {
  const python = process.env.PYTHON_PATH ?? "python3";
  const { stdout } = await run(python, ["-c", "import sys, venv; print(*sys.version_info[:2])"]).catch((error) => {
    throw new Error(`there is no ${python} with venv`, { cause: error });
  });
  const [major = 0, minor = 0] = stdout.trim().split(" ").map(Number);
  if (major < MINIMUM[0] || (major === MINIMUM[0] && minor < MINIMUM[1])) {
    throw new Error(`Python ${MINIMUM.join(".")} is needed, ${python} is ${major}.${minor}`);
  }
  return python;
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
