import { Readable } from "node:stream";
import { ObjectNotFound, type ObjectStore } from "../storage/objectStore.ts";
import { withinTime } from "../timeLimit.ts";

const ANSWER_WITHIN_MS = 10_000;

/** The object store failed, or took too long: nothing is known of what it has. */
export class StoreUnavailable extends Error {
  override name = "StoreUnavailable";
  constructor(cause: unknown) {
    super("the object store does not answer", { cause });
  }
}

/** The store, whose failures can be told from mistakes of ours: they have a type, and come within ten seconds. */
export function reportingStore<S extends ObjectStore>(store: S): S {
  return {
    ...store,
    put: (key, body, options) => reported(store.put(key, body, options)),
    head: (key) => reported(store.head(key)),
    remove: (keys) => reported(store.remove(keys)),
    link: (key, options) => reported(store.link(key, options)),
    async get(key, options) {
      const { info, body } = await reported(store.get(key, options));
      return { info, body: Readable.from(reportedEach(body), { objectMode: false }) };
    },
    list: (prefix) => reportedEach(store.list(prefix)),
  } satisfies Partial<ObjectStore> & S;
}

async function reported<T>(call: Promise<T>): Promise<T> {
  try {
    return await withinTime(call, ANSWER_WITHIN_MS);
  } catch (error) {
    throw asTrouble(error);
  }
}

async function* reportedEach<T>(items: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* items;
  } catch (error) {
    throw asTrouble(error);
  }
}

/** That there is no such object is an answer, and a key that is none is refused before anything is asked. */
function asTrouble(error: unknown): unknown {
  return error instanceof ObjectNotFound || error instanceof RangeError ? error : new StoreUnavailable(error);
}
