import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { ApiError, createClient } from "../../src/client/index.ts";
import { KEY, startTestApi, type TestApi } from "../api/support.ts";

describe("the client", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi();
  });
  after(() => api.close());

  /** Calls against a server that answers as it likes. */
  async function against<T>(answer: RequestListener, use: (baseUrl: string) => Promise<T>): Promise<T> {
    const server = createServer(answer).listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  const refusalOf = async (call: Promise<unknown>): Promise<ApiError> => {
    const error = await call.catch((error) => error);
    assert.ok(error instanceof ApiError, String(error));
    return error;
  };

  it("says what the API refuses, in its words", async () => {
    const client = createClient({ baseUrl: `${api.url}/api/v0/`, apiKey: KEY });
    const error = await refusalOf(client.submit("csm", { text: "Hello.", topk: 500 }));
    assert.deepEqual([error.status, error.code], [400, "invalid_body"]);
    assert.deepEqual(error.errors, { topk: "must be at most 100" });
    assert.match(error.requestId ?? "", /^[0-9a-f-]{36}$/);
    const down = await refusalOf(client.status(randomUUID()));
    assert.deepEqual([down.status, down.code, down.retryAfterSeconds], [503, "temporal_unavailable", 5]);
    const stranger = await refusalOf(createClient({ baseUrl: api.url }).status(randomUUID()));
    assert.equal(stranger.status, 401);
  });

  it("understands a proxy that answers in its own way", async () => {
    const proxy: RequestListener = (_request, response) => response.writeHead(502).end("<h1>Bad Gateway</h1>");
    await against(proxy, async (baseUrl) => {
      const error = await refusalOf(createClient({ baseUrl }).status(randomUUID()));
      assert.deepEqual([error.status, error.code, error.message], [502, "unknown", "HTTP 502 Bad Gateway"]);
    });
  });

  it("waits as long as it is told to when there are too many requests", async () => {
    const id = randomUUID();
    const job = {
      ...{
        id,
        type: "csm",
        tenant: "default",
        status: "failed",
        error: "x",
        progress: null,
        max_time: 60,
        attempts: 0,
      },
      ...{ created_at: new Date().toISOString(), complete_by: new Date().toISOString(), files: [], timeline: [] },
    };
    const asked: string[] = [];
    const busy: RequestListener = (request, response) => {
      asked.push(request.url ?? "");
      if (asked.length === 1) {
        response.writeHead(429, { "Retry-After": "0" });
        response.end(JSON.stringify({ error: "too many", code: "too_many_requests", request_id: "r" }));
      } else response.end(JSON.stringify(asked.length === 2 ? { id, status: "running" } : job));
    };
    await against(busy, async (baseUrl) => {
      assert.deepEqual(await createClient({ baseUrl }).wait(id, { pollMs: 1 }), job);
    });
    assert.deepEqual(asked, [`/status/${id}`, `/status/${id}`, `/status/${id}`, `/jobs/${id}`]);
  });

  it("gives up when it is told to, and when no answer comes", async () => {
    const silent: RequestListener = () => {};
    await against(silent, async (baseUrl) => {
      const signal = AbortSignal.abort(new Error("enough"));
      await assert.rejects(createClient({ baseUrl }).status(randomUUID(), { signal }), /enough/);
      await assert.rejects(createClient({ baseUrl, timeoutMs: 20 }).status(randomUUID()), { name: "TimeoutError" });
    });
  });
});
