import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { S3Config } from "../../src/config/index.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import { eventually } from "./eventually.ts";
import { s3Executable } from "./programs.ts";

export interface TestS3 {
  s3: S3Config;
  /** It takes connections, and answers nothing. */
  stall(): void;
  resume(): void;
  stop(): Promise<void>;
}

/** A real S3 server on a folder of its own; undefined where its program cannot be had. */
export async function startS3(): Promise<TestS3 | undefined> {
  const executable = await s3Executable();
  if (executable === undefined) return undefined;
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
    stall: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
    async stop() {
      child.kill("SIGCONT");
      const closed = once(child, "close");
      child.kill("SIGTERM");
      await closed;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
