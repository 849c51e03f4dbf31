import { s3Executable, temporalExecutable } from "./programs.ts";

/** Root hooks: what the whole run needs is had first, what it shares is stopped last. */
const BUILD_TIMEOUT_MS = 45 * 60_000;
const closers: (() => Promise<void>)[] = [];

/** Registers something shared by all tests, to be closed after the last one. */
export function closeAfterAll(close: () => Promise<void>): void {
  closers.push(close);
}

before(async function () {
  // On a machine that has neither server, both are built: minutes, once.
  this.timeout(BUILD_TIMEOUT_MS);
  await temporalExecutable();
  await s3Executable();
});

after(async () => {
  for (const close of closers.reverse()) await close();
});
