import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseEnv } from "node:util";

const FILE = ".env";

/**
 * Takes the variables of `.env` in the working folder into the environment, where they are not set already, and says so on the
 * standard error output, by name and never by value. A folder of that name is somebody else's.
 * @throws when the file is there and cannot be read
 */
export function readEnvFile(): void {
  let text: string;
  try {
    text = readFileSync(FILE, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "EISDIR")) return;
    throw error;
  }
  const names = Object.keys(parseEnv(text));
  const overridden = names.filter((name) => process.env[name] !== undefined);
  process.loadEnvFile(FILE);
  const taken = names.filter((name) => !overridden.includes(name));
  const not = overridden.length === 0 ? "" : `; set in the environment, which counts: ${overridden.join(", ")}`;
  process.stderr.write(`Read ${resolve(FILE)}: ${taken.length === 0 ? "nothing new" : taken.join(", ")}${not}\n`);
}
