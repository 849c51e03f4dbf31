import { findProgram, installedProgram, type Program } from "../../src/dev/binaries.ts";
import { temporalCli } from "../../src/dev/programs.ts";

const versitygw: Program = {
  name: "versitygw",
  version: "1.8.0",
  configuredPath: process.env.VERSITYGW_PATH,
  variable: "VERSITYGW_PATH",
  goModule: "github.com/versity/versitygw/cmd/versitygw",
};

/** The newest one that Go alone can build: later ones leave a header out of the module. */
const ollama: Program = {
  name: "ollama",
  version: "0.9.6",
  configuredPath: process.env.OLLAMA_PATH,
  variable: "OLLAMA_PATH",
  goModule: "github.com/ollama/ollama",
};

const say = (line: string) => console.log(line);

/** Where the Temporal CLI is, wherever it had to be had from. */
export const temporalExecutable = () => findProgram(temporalCli(process.env.TEMPORAL_CLI_PATH), process.env, say);

/** Where the S3 server is. Where it cannot be had the S3 tests are skipped, but with CI=true that is an error. */
export async function s3Executable(): Promise<string | undefined> {
  try {
    return await findProgram(versitygw, process.env, say);
  } catch (error) {
    if (process.env.CI === "true") throw error;
    say(`The S3 tests are skipped: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** Where Ollama is. It takes Go and a C++ compiler several minutes to build, so it is used only where it is already. */
export async function ollamaExecutable(): Promise<string | undefined> {
  const found = await installedProgram(ollama, process.env);
  if (found === undefined) {
    say(`The tests on a real Ollama are skipped: it is neither at OLLAMA_PATH nor on the PATH. To have it:`);
    say(`  go install ${ollama.goModule}@v${ollama.version}`);
  }
  return found;
}
