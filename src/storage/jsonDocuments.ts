import { Readable } from "node:stream";
import { ObjectNotFound, type ObjectStore } from "./objectStore.ts";

/** Small documents of the service's own in the object store. @returns undefined when there is none */
export async function readJson(store: ObjectStore, key: string): Promise<unknown> {
  try {
    const { body } = await store.get(key);
    return JSON.parse(Buffer.concat(await body.toArray()).toString());
  } catch (error) {
    if (error instanceof ObjectNotFound) return undefined;
    throw error;
  }
}

export async function writeJson(
  store: ObjectStore,
  key: string,
  document: unknown,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const body = Readable.from([Buffer.from(JSON.stringify(document))]);
  await store.put(key, body, { contentType: "application/json", ...options });
}
