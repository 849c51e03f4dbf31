import { Readable } from "node:stream";
import { z } from "zod";
import { keys } from "./keys.ts";
import { ObjectNotFound, type ObjectStore } from "./objectStore.ts";

const overridesSchema = z.object({
  min: z.number().int().nonnegative().optional(),
  max: z.number().int().nonnegative().optional(),
  paused: z.boolean().optional(),
});

/** What an operator has set for a pool, above the configuration; it outlives the pool's workflow. */
export type PoolOverrides = z.infer<typeof overridesSchema>;

export async function readPoolOverrides(store: ObjectStore, type: string): Promise<PoolOverrides> {
  try {
    const { body } = await store.get(keys.pool(type));
    return overridesSchema.parse(JSON.parse(Buffer.concat(await body.toArray()).toString()));
  } catch (error) {
    if (error instanceof ObjectNotFound) return {};
    throw error;
  }
}

export async function writePoolOverrides(store: ObjectStore, type: string, overrides: PoolOverrides): Promise<void> {
  const body = Readable.from([Buffer.from(JSON.stringify(overrides))]);
  await store.put(keys.pool(type), body, { contentType: "application/json" });
}
