import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { S3Config } from "../../src/config.ts";
import { findProgram, type Program } from "../../src/dev/binaries.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import { eventually } from "./eventually.ts";

const versitygw: Program = {
  name: "versitygw",
  version: "1.8.0",
  configuredPath: process.env.VERSITYGW_PATH,
  variable: "VERSITYGW_PATH",
  goModule: "github.com/versity/versitygw/cmd/versitygw",
};

/**
 * A real S3 server on a folder of its own. Undefined, with the reason printed, where its program cannot be
 * had; with CI=true that is an error.
 */
export async function startS3(): Promise<{ s3: S3Config; stop: () => Promise<void> } | undefined> {
  let executable: string;
  try {
    executable = await findProgram(versitygw, process.env, (line) => console.log(line));
  } catch (error) {
    if (process.env.CI === "true") throw error;
    console.log(`      The S3 tests are skipped: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
  const folder = await mkdtemp(join(tmpdir(), "c3-render-s3-"));
  const port = await freePort(0, "S3", () => {});
  const accessKey = "test-access";
  const secretKey = "test-secret";
  const child = spawn(executable, ["--port", `127.0.0.1:${port}`, "posix", folder], {
    env: { PATH: process.env.PATH, ROOT_ACCESS_KEY: accessKey, ROOT_SECRET_KEY: secretKey },
    stdio: "ignore",
  });
  const endpoint = `http://127.0.0.1:${port}`;
  await eventually("the S3 server answers", () =>
    fetch(endpoint).then(
      () => true,
      () => undefined,
    ),
  );
  return {
    s3: { endpoint, publicUrl: undefined, region: "us-east-1", accessKey, secretKey, bucket: "test-bucket" },
    async stop() {
      const closed = once(child, "close");
      child.kill("SIGTERM");
      await closed;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
