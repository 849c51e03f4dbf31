import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import type { Client } from "@temporalio/client";
import { ids } from "../../../src/contracts/names.ts";
import { keys } from "../../../src/storage/keys.ts";
import { connectTestClient, startTestApi, type TestApi } from "../support.ts";

describe("a submission with an Idempotency-Key", () => {
  let client: Client;
  let api: TestApi;
  before(async () => {
    ({ client } = await connectTestClient());
    api = await startTestApi({ client });
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  const submit = (key: string, body: object = { text: "Once." }, path = "/csm") =>
    api.post(path, body, { "Idempotency-Key": key });
  const idOf = async (response: Response) => ((await response.json()) as { id: string }).id;

  it("makes one job of 200 that come at once", async () => {
    const key = randomUUID();
    const responses = await Promise.all(Array.from({ length: 200 }, () => submit(key)));
    assert.deepEqual([...new Set(responses.map(({ status }) => status))], [200]);
    assert.equal(new Set(await Promise.all(responses.map(idOf))).size, 1);
    const replayed = responses.filter(({ headers }) => headers.get("Idempotent-Replayed") === "true");
    assert.equal(replayed.length, 199);
  });

  it("is the same job again, also when numbers are written as strings, and another one under another key", async () => {
    const key = "k".repeat(255);
    const first = await idOf(await submit(key, { text: "Once.", topk: 20 }));
    const again = await submit(key, { topk: "20", text: "Once.", unknown: 1 });
    assert.equal(again.headers.get("Location"), `/jobs/${first}`);
    assert.deepEqual(await again.json(), { id: first, status: "queued" });
    assert.notEqual(await idOf(await submit(`${key.slice(1)}x`)), first);
  });

  it("is refused when something else is asked for", async () => {
    const key = randomUUID();
    await submit(key);
    for (const other of [
      await submit(key, { text: "Twice." }),
      await submit(key, { image_url: "https://example.com/a.png" }, "/analyze"),
    ]) {
      assert.equal(other.status, 422);
      assert.equal(((await other.json()) as { code: string }).code, "idempotency_key_reused");
    }
  });

  it("is refused when the key is empty or too long", async () => {
    for (const key of ["", "k".repeat(256)]) {
      const response = await submit(key);
      assert.equal(response.status, 400);
      assert.equal(((await response.json()) as { code: string }).code, "invalid_idempotency_key");
    }
  });

  it("is known from its record when Temporal has forgotten the job", async () => {
    const key = randomUUID();
    const id = await idOf(await submit(key));
    const { memo } = await client.workflow.getHandle(ids.job(id)).describe();
    const record = { ...memo, view: { ...(memo?.view as object), state: "success" } };
    await api.store.put(keys.record(id), Readable.from([JSON.stringify(record)]), { contentType: "application/json" });
    await client.workflow.getHandle(ids.job(id)).terminate();
    const { namespace } = client.options;
    await client.workflowService.deleteWorkflowExecution({ namespace, workflowExecution: { workflowId: ids.job(id) } });
    const again = await submit(key);
    assert.equal(again.headers.get("Idempotent-Replayed"), "true");
    assert.equal(await idOf(again), id);
    assert.equal((await submit(key, { text: "Twice." })).status, 422);
  });

  for (const [what, get] of [
    ["cannot be reached", () => Promise.reject(new Error("connect ECONNREFUSED"))],
    ["does not answer", () => new Promise<never>(() => {})],
  ] as const) {
    it(`is taken, once, while the object store ${what}`, async () => {
      const away = await startTestApi({ client, storeThrough: (store) => ({ ...store, get }) });
      try {
        const headers = { "Idempotency-Key": randomUUID() };
        const responses = [];
        for (let time = 0; time < 2; time += 1) responses.push(await away.post("/csm", { text: "Once." }, headers));
        const [first, again] = await Promise.all(
          responses.map(async (response) => [response.status, ((await response.json()) as { id: string }).id]),
        );
        assert.equal(first?.[0], 200);
        assert.deepEqual(again, first);
        assert.equal(responses[1]?.headers.get("Idempotent-Replayed"), "true");
      } finally {
        await away.close();
      }
    });
  }
});
