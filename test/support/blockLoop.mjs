// Preloaded into the processes of the test: from SIGUSR2 on their event loop stands still for 200 ms, again and again.
import { isMainThread } from "node:worker_threads";

const BLOCKED_MS = 200;
const EVERY_MS = 250;

if (isMainThread && /\/src\//.test(process.argv[1] ?? "")) {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  process.once("SIGUSR2", () => {
    setInterval(() => Atomics.wait(nothing, 0, 0, BLOCKED_MS), EVERY_MS).unref();
    process.stdout.write("the event loop is blocked\n");
  });
}
