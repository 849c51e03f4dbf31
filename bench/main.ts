import { inspect } from "node:util";
import { api } from "./api.ts";
import { chaos } from "./chaos.ts";
import { hostile } from "./hostile.ts";
import { memory } from "./memory.ts";
import { overhead } from "./overhead.ts";
import { scheduling } from "./scheduling.ts";
import { BenchError } from "./submit.ts";
import { webhooks } from "./webhooks.ts";

const benchmarks: Record<string, () => Promise<void>> = { api, chaos, hostile, memory, overhead, scheduling, webhooks };

const [name = ""] = process.argv.slice(2);
const run = benchmarks[name];
if (run === undefined) {
  console.error(`npm run bench -- <name>, with one of: ${Object.keys(benchmarks).join(", ")}`);
  process.exit(1);
}
// What ends when this process exits, such as a Temporal server, does not when a signal ends it.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(1));
try {
  await run();
} catch (error) {
  console.error(error instanceof BenchError ? error.message : inspect(error));
  process.exitCode = 1;
}
