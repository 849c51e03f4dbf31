import { readFile } from "node:fs/promises";
import { addAbortSignal, type Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { UsageError } from "./exitCodes.ts";

/** A value as it was typed: itself, or what is in a file or comes in. */
export interface Given {
  text: string;
  isFile: boolean;
}

/**
 * Reads values: `@<file>` is what the file holds, `-` and `@-` are the standard input, `@@…` is a text that begins with `@`.
 * @throws UsageError for what cannot be read
 */
export function createInput(stdin: Readable, signal: AbortSignal) {
  let isRead = false;

  async function readStdin(): Promise<Buffer> {
    if (isRead) throw new UsageError("the standard input can be read only once");
    isRead = true;
    return await buffer(addAbortSignal(signal, stdin));
  }

  return async (name: string, value: string): Promise<Given> => {
    if (value.startsWith("@@")) return { text: value.slice(1), isFile: false };
    if (value === "-" || value === "@-") return { text: textOf(name, "-", await readStdin()), isFile: true };
    if (!value.startsWith("@")) return { text: value, isFile: false };
    const path = value.slice(1);
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      throw new UsageError(
        `${name}: ${path} cannot be read (${error.code ?? error.message}); a text that begins with @ is written @@`,
      );
    });
    return { text: textOf(name, path, bytes), isFile: true };
  };
}

export type Input = ReturnType<typeof createInput>;

/** Without the line break that editors put at the end. */
function textOf(name: string, path: string, bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replace(/\r?\n$/, "");
  } catch (error) {
    throw new UsageError(`${name}: ${path === "-" ? "the standard input" : path} is not a text in UTF-8`, {
      cause: error,
    });
  }
}
