import { PassThrough, Readable } from "node:stream";
import { runProgram } from "../../src/cli/run.ts";
import type { Client } from "../../src/sdk/index.ts";

export interface Typed {
  code: number;
  stdout: string;
  stderr: string;
}

interface Options {
  stdin?: string;
  /** Whether the standard error is shown by a terminal. */
  isTTY?: boolean;
  signal?: AbortSignal;
}

/** Runs the command as if it had been typed. */
export async function type(client: Client, args: readonly string[], options: Options = {}): Promise<Typed> {
  const stdout = new PassThrough();
  const stderr = Object.assign(new PassThrough(), { isTTY: options.isTTY ?? false });
  const code = await runProgram(args, {
    connect: () => client,
    terminal: { stdin: Readable.from([Buffer.from(options.stdin ?? "")]), stdout, stderr },
    signal: options.signal ?? AbortSignal.timeout(30_000),
  });
  return { code, stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") };
}
