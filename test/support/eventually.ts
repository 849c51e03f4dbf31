import { setTimeout as delay } from "node:timers/promises";

const TIMEOUT_MS = 45_000;
const LOOK_EVERY_MS = 10;

/** Waits until `look` finds something, and returns it; says what it waited for, and what it saw, when it does not. */
export async function eventually<T>(
  what: string | (() => string),
  look: () => T | undefined | Promise<T | undefined>,
  timeoutMs = TIMEOUT_MS,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) return found;
    if (performance.now() > deadline) {
      throw new Error(`waited in vain: ${typeof what === "string" ? what : what()}`);
    }
    await delay(LOOK_EVERY_MS);
  }
}
