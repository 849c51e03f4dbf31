import { z } from "zod";
import { readJson, writeJson } from "./jsonDocuments.ts";
import { keys } from "./keys.ts";
import type { ObjectStore } from "./objectStore.ts";

const overridesSchema = z.object({
  min: z.number().int().nonnegative().optional(),
  max: z.number().int().nonnegative().optional(),
  paused: z.boolean().optional(),
});

/** What an operator has set for a pool, above the configuration; it outlives the pool's workflow. */
export type PoolOverrides = z.infer<typeof overridesSchema>;

export async function readPoolOverrides(store: ObjectStore, type: string): Promise<PoolOverrides> {
  return overridesSchema.parse((await readJson(store, keys.pool(type))) ?? {});
}

export async function writePoolOverrides(store: ObjectStore, type: string, overrides: PoolOverrides): Promise<void> {
  await writeJson(store, keys.pool(type), overrides);
}
