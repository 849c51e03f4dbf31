import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import type { Client } from "@temporalio/client";
import { submitJob } from "../../src/api/jobs/submitJob.ts";
import { ids } from "../../src/contracts/names.ts";
import type { JobSpec } from "../../src/jobs/job.ts";
import { eventually } from "../support/eventually.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const cursorOf = (at: unknown) => Buffer.from(JSON.stringify([at, randomUUID()])).toString("base64url");

interface Page {
  jobs: { id: string; type: string; status: string; error?: string; metadata?: object }[];
  next_cursor?: string;
}

describe("the list of jobs", () => {
  let client: Client;
  let api: TestApi;
  const submitted: string[] = [];
  before(async () => {
    ({ client } = await connectTestClient());
    api = await startTestApi({ client });
    for (let job = 0; job < 12; job += 1) submitted.unshift(await submit(job % 3 === 0 ? "analyze" : "csm"));
    await eventually("all are listed", async () => (await list("limit=100")).jobs.length === 12);
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  async function submit(type: "csm" | "analyze"): Promise<string> {
    const body = type === "csm" ? { text: "Hello." } : { image_url: "https://example.com/a.png" };
    const response = await api.post(`/${type}`, { ...body, metadata: { order: 7 } });
    return ((await response.json()) as { id: string }).id;
  }

  async function list(query: string): Promise<Page> {
    const response = await api.fetch(`/jobs?${query}`);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Page;
  }

  async function readAll(query: string): Promise<string[][]> {
    const pages: string[][] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const page: Page = await list(`${query}${cursor === "" ? "" : `&cursor=${cursor}`}`);
      pages.push(page.jobs.map(({ id }) => id));
      cursor = page.next_cursor;
    }
    return pages;
  }

  it("is newest first, page after page, and shows what is asked for", async () => {
    const pages = await readAll("limit=5");
    assert.deepEqual(
      pages.map((page) => page.length),
      [5, 5, 2],
    );
    assert.deepEqual(pages.flat(), submitted);
    const [job] = (await list("type=analyze&limit=1")).jobs;
    assert.equal(job?.type, "analyze");
    assert.equal(job?.status, "queued");
    assert.deepEqual(job?.metadata, { order: 7 });
    assert.equal((await readAll("type=analyze&limit=3")).flat().length, 4);
    for (const query of ["type=whisper", "tenant=%5C", "tenant=a%22b", "tenant=' OR Tenant != '"])
      assert.deepEqual((await list(query)).jobs, []);
  });

  it("keeps its order when old ones end, and finds them under what they are", async () => {
    const oldest = submitted.at(-1)!;
    await client.workflow.getHandle(ids.job(oldest)).terminate();
    const failed = await eventually("it is failed", async () => {
      const page = await list("status=failed");
      return page.jobs.length === 1 ? page.jobs : undefined;
    });
    assert.equal(failed[0]?.id, oldest);
    assert.equal(failed[0]?.error, "Job was terminated by an operator");
    assert.equal((await readAll("status=queued&limit=100")).flat().length, 11);
    assert.deepEqual((await readAll("limit=4")).flat(), submitted);
  });

  it("shows the jobs of one tenant, whatever its name", async () => {
    for (const tenant of ["o'neill", "auth0|42"]) {
      const id = randomUUID();
      const now = Date.now();
      const job = { id, type: "csm", tenant, priority: "normal", createdAt: now, completeBy: now + 60_000 };
      const input = { monologue: ["a"], voice: "random" };
      await submitJob({ client, config: api.config }, { ...job, maxTimeSeconds: 60, input } as unknown as JobSpec);
      const jobs = await eventually(`the job of ${tenant}`, async () => {
        const page = await list(`tenant=${encodeURIComponent(tenant)}`);
        return page.jobs.length > 0 ? page.jobs : undefined;
      });
      assert.deepEqual(
        jobs.map((found) => found.id),
        [id],
      );
    }
  });

  it("stays in order when there are many in one moment", async () => {
    const many = await Promise.all(Array.from({ length: 270 }, () => submit("csm")));
    await eventually("all are listed", async () => (await readAll("type=csm&limit=100")).flat().length >= 270 + 8);
    const listed = (await readAll("type=csm&limit=100")).flat();
    assert.equal(new Set(listed).size, listed.length, "a job is listed twice");
    assert.deepEqual(new Set(listed.slice(0, -8 - 2)), new Set(many));
  });

  it("takes a cursor of any time up to year 9999, and parameters that are empty", async () => {
    assert.deepEqual(await list("status=&type=&tenant=&limit=&cursor="), await list(""));
    assert.deepEqual(await list(`limit=100&cursor=${cursorOf(253_402_300_799_999)}`), await list("limit=100"));
    for (const at of [0, 1]) assert.deepEqual((await list(`cursor=${cursorOf(at)}`)).jobs, []);
  });

  for (const [query, field] of [
    ["status=done", "status"],
    ["type=video", "type"],
    ["limit=0", "limit"],
    ["limit=many", "limit"],
    ["cursor=abc", "cursor"],
    ...[-1, 1.5, null, "1", "NaN", 1e300, 253_402_300_800_000, 8.64e15, 8.64e15 + 1, Number.MAX_SAFE_INTEGER].map(
      (at) => [`cursor=${cursorOf(at)}`, "cursor"] as const,
    ),
    [`cursor=${Buffer.from('["x",1]').toString("base64url")}`, "cursor"],
  ] as const) {
    it(`answers 400 to ${query}`, async () => {
      const response = await api.fetch(`/jobs?${query}`);
      assert.equal(response.status, 400);
      const { code, errors } = (await response.json()) as { code: string; errors: object };
      assert.equal(code, "invalid_query");
      assert.deepEqual(Object.keys(errors), [field]);
    });
  }
});
