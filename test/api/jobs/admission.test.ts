import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Client } from "@temporalio/client";
import { TypedSearchAttributes } from "@temporalio/common";
import { quoted } from "../../../src/api/jobs/searchQuery.ts";
import { ids } from "../../../src/contracts/names.ts";
import { searchAttributes } from "../../../src/temporal/connection.ts";
import { eventually } from "../../support/eventually.ts";
import { connectTestClient, startTestApi, type TestApi } from "../support.ts";

describe("the queue's limits", () => {
  let client: Client;
  let api: TestApi;
  before(async () => {
    ({ client } = await connectTestClient());
    const keys = ["anna", "bert"].map((name) => ({ name, key: `the-api-key-of-${name}` }));
    const limits = { MAX_QUEUED: "5", MAX_QUEUED_PER_TENANT: "3" };
    api = await startTestApi({ client, env: { ...limits, C3_RENDER_KEYS: JSON.stringify(keys) } });
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  const submit = async (name: string) => {
    const response = await api.post("/csm", { text: "Hello." }, { Authorization: `Bearer the-api-key-of-${name}` });
    const { id, code } = (await response.json()) as { id: string; code?: string };
    return { status: response.status, retryAfter: response.headers.get("Retry-After"), id, code };
  };
  const countOf = (answers: { code?: string | undefined }[], code?: string) =>
    answers.filter((answer) => answer.code === code).length;

  it("hold for a tenant, then for all, and open again when jobs have gone", async () => {
    const ofAnna = await Promise.all(Array.from({ length: 12 }, () => submit("anna")));
    assert.equal(countOf(ofAnna), 3);
    assert.equal(countOf(ofAnna, "tenant_queue_full"), 9);
    const refused = ofAnna.find(({ code }) => code !== undefined);
    assert.equal(refused?.status, 429);
    assert.ok(Number(refused?.retryAfter) > 0);

    const ofBert = await Promise.all(Array.from({ length: 4 }, () => submit("bert")));
    assert.equal(countOf(ofBert), 2);
    assert.equal(countOf(ofBert, "queue_full"), 2);
    const full = ofBert.find(({ code }) => code !== undefined);
    assert.equal(full?.status, 503);
    assert.ok(Number(full?.retryAfter) > 0);

    const waiting = ofAnna.filter(({ code }) => code === undefined);
    for (const { id } of waiting) await client.workflow.getHandle(ids.job(id)).terminate();
    await eventually("there is room again", async () => (await submit("anna")).status === 200 || undefined);
  });

  it("count tenants of any name", async () => {
    const tenant = "o'brien' OR Tenant != 'ünï|%_`";
    const workflowId = randomUUID();
    await client.workflow.start("stand-in", {
      workflowId,
      taskQueue: `nobody-${workflowId}`,
      typedSearchAttributes: new TypedSearchAttributes([{ key: searchAttributes.tenant, value: tenant }]),
    });
    await eventually("it is counted alone", async () => {
      const { count } = await client.workflow.count(`Tenant = ${quoted(tenant)}`);
      return count === 1 || undefined;
    });
  });
});
