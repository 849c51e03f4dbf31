import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { reportingStore, StoreUnavailable } from "../../../src/api/http/storeErrors.ts";
import { ObjectNotFound, type ObjectStore } from "../../../src/storage/objectStore.ts";
import { eventually } from "../../support/eventually.ts";

const WITHIN_MS = 50;
const never = () => new Promise<never>(() => {});
const info = { key: "a", bytes: 3, contentType: "text/plain", lastModified: new Date(0) };

/** A store of which only some calls are made. */
function reporting(calls: Partial<Record<keyof ObjectStore, unknown>>): ObjectStore {
  return reportingStore(calls as unknown as ObjectStore, WITHIN_MS);
}

async function* thenHangs() {
  yield info;
  await never();
}

async function* thenFails() {
  yield info;
  throw new Error("socket hang up");
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe("a store as the API sees it", () => {
  const troubles: Record<string, (store: ObjectStore) => Promise<unknown>> = {
    put: (store) => store.put("a", new PassThrough(), { contentType: "text/plain" }),
    head: (store) => store.head("a"),
    get: (store) => store.get("a"),
    remove: (store) => store.remove(["a"]),
    link: (store) => store.link("a", {} as Parameters<ObjectStore["link"]>[1]),
  };
  for (const [name, call] of Object.entries(troubles)) {
    it(`${name}: hanging and failing are the store's trouble, and told as that`, async () => {
      await assert.rejects(call(reporting({ [name]: never })), StoreUnavailable);
      await assert.rejects(call(reporting({ [name]: async () => assert.fail("ECONNREFUSED") })), StoreUnavailable);
    });
  }

  it("a list that stops in the middle", async () => {
    await assert.rejects(all(reporting({ list: thenHangs }).list("")), StoreUnavailable);
    await assert.rejects(all(reporting({ list: thenFails }).list("")), StoreUnavailable);
  });

  it("a list that its reader leaves is left", async () => {
    let left = false;
    const list = async function* () {
      try {
        for (;;) yield info;
      } finally {
        left = true;
      }
    };
    for await (const one of reporting({ list }).list("")) {
      assert.deepEqual(one, info);
      break;
    }
    assert.ok(left);
  });

  it("an object that stops in the middle: its connection is closed", async () => {
    const source = new PassThrough();
    source.write("abc");
    const { body } = await reporting({ get: async () => ({ info, body: source }) }).get("a");
    await assert.rejects(all(body), StoreUnavailable);
    assert.ok(source.destroyed);
  });

  it("an object that its reader leaves: its connection is closed", async () => {
    const source = new PassThrough();
    source.write("abc");
    const { body } = await reporting({ get: async () => ({ info, body: source }) }).get("a");
    for await (const part of body) {
      assert.equal(String(part), "abc");
      break;
    }
    await eventually("it is closed", () => source.destroyed);
  });

  it("that there is no such object is an answer", async () => {
    const get = async () => {
      throw new ObjectNotFound("a");
    };
    await assert.rejects(reporting({ get }).get("a"), ObjectNotFound);
  });
});
