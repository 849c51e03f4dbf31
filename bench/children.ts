import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { BenchError } from "./submit.ts";

/** The next message of a child process. @throws BenchError when it ends before */
export async function nextMessage(child: ChildProcess, what: string): Promise<unknown> {
  const settled = new AbortController();
  const { signal } = settled;
  const message = once(child, "message", { signal }).then(([value]: unknown[]) => value);
  const end = once(child, "exit", { signal }).then(([code]) => {
    throw new BenchError(`${what} ended (${code}) instead of answering.`);
  });
  end.catch(() => {});
  try {
    return await Promise.race([message, end]);
  } finally {
    message.catch(() => {});
    settled.abort();
  }
}

/** Lets a child process go, and waits for its end. */
export async function letGo(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = once(child, "exit");
  if (child.connected) child.disconnect();
  await end;
}

/** @throws BenchError with `sentence` when it takes longer */
export async function within<T>(promise: Promise<T>, ms: number, sentence: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new BenchError(sentence)), ms);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
