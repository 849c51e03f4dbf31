import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { Client } from "@temporalio/client";
import { MockActivityEnvironment } from "@temporalio/testing";
import { createAttemptWebhook } from "../../src/activities/webhooks/attemptWebhook.ts";
import { ids } from "../../src/contracts/names.ts";
import { initialView, type JobSpec, type JobType, type JobView, jobTypes } from "../../src/jobs/job.ts";
import { type FinalState, finalStates } from "../../src/jobs/states.ts";
import { createSafeFetch, type SafeFetch } from "../../src/net/safeFetch.ts";
import { createMetrics } from "../../src/process/metrics.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { keys } from "../../src/storage/keys.ts";
import { createChecker, type Described, readDocument } from "./openapi/support.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const metadata = JSON.parse('{"order": 7, "nested": {"a": null}, "list": ["", 0.1]}') as Record<string, unknown>;

describe("what is told of a job that ended", () => {
  let client: Client;
  let api: TestApi;
  let receiver: Server;
  let safeFetch: SafeFetch;
  let document: Described;
  let hook: string;
  const received: string[] = [];

  before(async () => {
    ({ client } = await connectTestClient());
    api = await startTestApi({ client });
    document = readDocument(await (await fetch(`${api.url}/openapi.json`)).json());
    receiver = createServer(async (request, response) => {
      received.push(await text(request));
      response.end();
    });
    receiver.listen(0, "127.0.0.1");
    await once(receiver, "listening");
    const origin = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`;
    hook = `${origin}/hook`;
    safeFetch = createSafeFetch({ trustedOrigins: { inputs: [origin], webhooks: [origin] } });
  });
  after(async () => {
    await safeFetch.close();
    receiver.close();
    receiver.closeAllConnections();
    await api.close();
    await client.connection.close();
  });

  async function stored(type: JobType): Promise<JobView["files"]> {
    const isText = type === "whisper" || type === "analyze";
    const [extension, mimeType] = isText ? ["txt", "text/plain; charset=utf-8"] : ["mp4", "video/mp4"];
    const key = keys.result(randomUUID(), extension!);
    await api.store.put(key, Readable.from([Buffer.from("Grüße, 世界.")]), { contentType: mimeType! });
    return [{ key, mimeType: mimeType!, bytes: 16 }];
  }

  /** What the webhook of a job carries, as the worker sends it. */
  async function webhookOf({ id, state, error, files, outputPath }: JobView & { state: FinalState }, more: object) {
    // Links are made by the worker with the address of the API, which it is told.
    const store = createObjectStore(api.config.storage, api.url);
    const { attemptWebhook } = createAttemptWebhook({ config: api.config, store, safeFetch, metrics: createMetrics() });
    const ending = { state, ...(error !== undefined && { error }) };
    const result = state === "success" && { result: { files, ...(outputPath !== undefined && { outputPath }) } };
    const attempt = { attempt: 1, isFirst: true, postponed: 0 };
    const request = { jobId: id, tenant: "default", url: hook, ending, ...result, ...more, ...attempt };
    received.length = 0;
    await new MockActivityEnvironment().run(attemptWebhook, request);
    const [body = assert.fail("nothing arrived")] = received;
    return body;
  }

  async function show(view: JobView, more: object) {
    const options = { workflowId: ids.job(view.id), taskQueue: "nobody", memo: { view, ...more } };
    await client.workflow.start("stand-in", options);
  }

  /** Two links differ only in when they were made. */
  const timeless = (body: string) =>
    body.replaceAll(/expires=\d+/g, "expires=").replaceAll(/signature=[\w-]+/g, "signature=");

  for (const type of jobTypes) {
    for (const state of finalStates) {
      for (const more of [{}, { metadata }]) {
        const outputPaths = type === "lipsync" && state === "success" ? [undefined, "/outputs/clip.mp4"] : [undefined];
        for (const outputPath of outputPaths) {
          it(`is one text: ${type}, ${state}${outputPath ?? ""}${"metadata" in more ? ", with metadata" : ""}`, async () => {
            const spec = { id: randomUUID(), type, tenant: "default", createdAt: 0, completeBy: 1, maxTimeSeconds: 60 };
            const view = {
              ...initialView(spec as JobSpec),
              state,
              ...(state === "success" ? { files: await stored(type) } : { error: `It is ${state}.` }),
              ...(outputPath !== undefined && { outputPath }),
            };
            await show(view, more);
            const webhook = await webhookOf(view, more);
            const answer = await api.fetch(`/result/${view.id}`);
            const answered = await answer.text();
            const { check } = createChecker(document);
            check(["components", "schemas", "Webhook"], JSON.parse(webhook), "webhook");
            if (answer.status === 200) {
              check(["components", "schemas", "Result"], JSON.parse(answered), "result");
              assert.equal(timeless(answered), timeless(webhook));
            } else {
              assert.equal(answer.status, 400);
              const { code, request_id: _one, ...rest } = JSON.parse(answered) as Record<string, unknown>;
              assert.equal(code, `job_${state}`);
              assert.deepEqual(rest, JSON.parse(webhook));
            }
            const { result_url: link } = JSON.parse(webhook) as { result_url?: string };
            if (link === undefined) return;
            const file = await fetch(link);
            assert.equal(file.status, 200);
            assert.match(file.headers.get("Content-Disposition") ?? "", /^attachment; filename="[\w-]+\.mp4"$/);
          });
        }
      }
    }
  }

  it("is one text also where a function on Modal stored nothing that can be fetched", async () => {
    const spec = {
      id: randomUUID(),
      type: "lipsync",
      tenant: "default",
      createdAt: 0,
      completeBy: 1,
      maxTimeSeconds: 1,
    };
    const view = { ...initialView(spec as JobSpec), state: "success" as const, outputPath: "/outputs/clip.mp4" };
    await show(view, {});
    const webhook = await webhookOf(view, {});
    assert.equal(await (await api.fetch(`/result/${view.id}`)).text(), webhook);
    assert.deepEqual(JSON.parse(webhook), { id: view.id, status: "success", output_path: "/outputs/clip.mp4" });
  });

  for (const [query, redirects] of [
    ["redirect=1", true],
    ["redirect=true", true],
    ["redirect=True", true],
    ["redirect=YES", true],
    ["redirect=on", true],
    ["redirect", true],
    ["redirect=0", false],
    ["redirect=False", false],
    ["redirect=no", false],
    ["redirect=null", false],
    ["", false],
  ] as const) {
    it(`${redirects ? "leads" : "does not lead"} to the file with "?${query}"`, async () => {
      const spec = {
        id: randomUUID(),
        type: "csm",
        tenant: "default",
        createdAt: 0,
        completeBy: 1,
        maxTimeSeconds: 60,
      };
      await show({ ...initialView(spec as JobSpec), state: "success", files: await stored("csm") }, {});
      const answer = await api.fetch(`/result/${spec.id}?${query}`);
      assert.equal(answer.status, redirects ? 302 : 200);
      if (redirects) assert.match(answer.headers.get("Location") ?? "", /\/files\/results\//);
    });
  }
});
