import { readFileSync } from "node:fs";
import { z } from "zod";

const packageSchema = z.object({ name: z.string(), version: z.string() });

/** What this service calls itself when it asks others: its name and version, as the package has them. */
export function readUserAgent(): string {
  const file = new URL("../../package.json", import.meta.url);
  const { name, version } = packageSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  return `${name}/${version}`;
}
