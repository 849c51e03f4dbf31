import { findProgram, type Program } from "../../src/dev/binaries.ts";
import { temporalCli } from "../../src/dev/programs.ts";

const versitygw: Program = {
  name: "versitygw",
  version: "1.8.0",
  configuredPath: process.env.VERSITYGW_PATH,
  variable: "VERSITYGW_PATH",
  goModule: "github.com/versity/versitygw/cmd/versitygw",
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
