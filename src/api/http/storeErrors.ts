import { Readable } from "node:stream";
import { withinTime } from "../../lib/timeLimit.ts";
import { ObjectNotFound, type ObjectStore } from "../../storage/objectStore.ts";

const ANSWER_WITHIN_MS = 10_000;

/** The object store failed, or took too long: nothing is known of what it has. */
export class StoreUnavailable extends Error {
  override name = "StoreUnavailable";
  constructor(cause: unknown) {
    super("the object store does not answer", { cause });
  }
}

/**
 * The store, whose failures can be told from mistakes of ours: they have a type, and come within ten seconds, also in the
 * middle of a list or of an object.
 */
export function reportingStore<S extends ObjectStore>(store: S, withinMs = ANSWER_WITHIN_MS): S {
  const inTime = <T>(call: () => Promise<T>) => reported(call, withinMs);
  return {
    ...store,
    put: (key, body, options) => inTime(() => store.put(key, body, options)),
    head: (key) => inTime(() => store.head(key)),
    remove: (keys) => inTime(() => store.remove(keys)),
    link: (key, options) => inTime(() => store.link(key, options)),
    async get(key, options) {
      const { info, body } = await inTime(() => store.get(key, options));
      return { info, body: Readable.from(reportedEach(body, withinMs), { objectMode: false }) };
    },
    list: (prefix) => reportedEach(store.list(prefix), withinMs),
  } satisfies Partial<ObjectStore> & S;
}

async function reported<T>(call: () => Promise<T>, withinMs: number): Promise<T> {
  try {
    return await withinTime(call(), withinMs);
  } catch (error) {
    throw asTrouble(error);
  }
}

/** Each step within the time that a call has. */
async function* reportedEach<T>(items: AsyncIterable<T>, withinMs: number): AsyncGenerator<T> {
  const steps = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const step = await reported(() => steps.next(), withinMs);
      if (step.done) return;
      yield step.value;
    }
  } finally {
    // What hangs does not come to an end for being asked to: nobody waits for that.
    if (items instanceof Readable) items.destroy();
    else steps.return?.().catch(() => {});
  }
}

/** That there is no such object is an answer, and a key that is none is refused before anything is asked. */
function asTrouble(error: unknown): unknown {
  return error instanceof ObjectNotFound || error instanceof RangeError ? error : new StoreUnavailable(error);
}
