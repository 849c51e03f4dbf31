import { readFileSync } from "node:fs";
import { z } from "zod";

const packageSchema = z.object({ name: z.string(), version: z.string() });

/** Name and version of this package. */
export function readPackage(): z.output<typeof packageSchema> {
  return packageSchema.parse(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")));
}
