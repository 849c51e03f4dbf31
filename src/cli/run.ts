import { inspect } from "node:util";
import { CommanderError } from "commander";
import { z } from "zod";
import { ConfigError } from "../config/index.ts";
import { ApiError, type Client } from "../sdk/index.ts";
import type { Terminal } from "./commands.ts";
import { exitCodes, NotSavedError, UsageError } from "./exitCodes.ts";
import { createProgram } from "./program.ts";
import { harmless } from "./readable.ts";
import { reasonOf } from "./reason.ts";

const HELP = "(--help says how it is used)";

/**
 * Runs the `c3-render` program.
 * @param args what was typed behind its name
 * @param signal ends it, but no job
 * @returns the exit code
 */
export async function runProgram(
  args: readonly string[],
  { connect, terminal, signal }: { connect: () => Client; terminal: Terminal; signal: AbortSignal },
): Promise<number> {
  let exitCode: number = exitCodes.success;
  const program = createProgram(connect, terminal, signal, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    const { code, message } = signal.aborted ? { code: exitCodes.interrupted, message: "" } : explain(error);
    if (message !== "") terminal.stderr.write(`${harmless(message)}\n`);
    return code;
  }
}

/** What went wrong, in words, and what to end with. */
function explain(error: unknown): { code: number; message: string } {
  // It has said what it has to say; 0 is the end of `--help`.
  if (error instanceof CommanderError)
    return { code: error.exitCode === 0 ? exitCodes.success : exitCodes.usage, message: "" };
  if (error instanceof UsageError) return { code: exitCodes.usage, message: `${error.message}\n${HELP}` };
  if (error instanceof ConfigError) return { code: exitCodes.usage, message: error.message };
  if (error instanceof NotSavedError) return { code: exitCodes.notSaved, message: error.message };
  if (error instanceof ApiError) return { code: exitCodes.refused, message: refusal(error) };
  if (error instanceof Error && error.name === "TimeoutError") {
    return { code: exitCodes.refused, message: "The API does not answer in time (C3_RENDER_URL)" };
  }
  if (error instanceof TypeError && error.cause instanceof Error) {
    return { code: exitCodes.refused, message: `The API cannot be reached (C3_RENDER_URL): ${reasonOf(error)}` };
  }
  if (error instanceof SyntaxError || error instanceof z.ZodError) {
    return {
      code: exitCodes.refused,
      message: "What answers is not this API, or another version of it (C3_RENDER_URL)",
    };
  }
  return { code: exitCodes.broken, message: inspect(error) };
}

/** A sentence for each field, where there are several. */
function refusal({ message, status, errors, requestId }: ApiError): string {
  const fields = Object.entries(errors);
  const lines = fields.length < 2 ? [] : fields.map(([name, sentence]) => `  ${name}: ${sentence}`);
  const origin = requestId === undefined ? `(HTTP ${status})` : `(HTTP ${status}, request ${requestId})`;
  return [`${message} ${origin}`, ...lines].join("\n");
}
