import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ApiError, createClient } from "../../src/sdk/index.ts";
import { KEY, startTestApi, type TestApi } from "../api/support.ts";
import { eventually } from "../support/eventually.ts";

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

  describe("goes on", () => {
    const id = randomUUID();
    const times = { created_at: new Date().toISOString(), complete_by: new Date().toISOString() };
    const failed = { id, type: "csm", tenant: "default", status: "failed", error: "x", max_time: 60, attempts: 0 };
    const job = { ...failed, progress: null, ...times, files: [], timeline: [] };
    const json = (response: ServerResponse, body: unknown, status = 200, headers = {}) =>
      void response.writeHead(status, headers).end(JSON.stringify(body));
    /** What each request is answered with, in turn; the last one is for all that follow. */
    const inTurn = (...answers: RequestListener[]) => {
      const requests: IncomingMessage[] = [];
      const listener: RequestListener = (request, response) => {
        requests.push(request);
        answers[Math.min(requests.length, answers.length) - 1]!(request, response);
      };
      return { requests, listener };
    };
    const reset: RequestListener = (request) => request.socket.destroy();
    const proxy502: RequestListener = (_, response) => response.writeHead(502).end("<h1>Bad Gateway</h1>");
    const restarting: RequestListener = (_, response) =>
      json(response, { error: "away", code: "temporal_unavailable", request_id: "r" }, 503, { "Retry-After": "0" });
    const inThePast: RequestListener = (_, response) =>
      json(response, { error: "away", code: "temporal_unavailable", request_id: "r" }, 503, {
        "Retry-After": new Date(0).toUTCString(),
      });
    const halfAnAnswer: RequestListener = (_, response) => {
      response.writeHead(200, { "Content-Length": "500" }).write("{");
      setImmediate(() => response.destroy());
    };
    const ended: RequestListener = ({ url }, response) =>
      json(response, url?.startsWith("/status") ? { id, status: "failed", error: "x" } : job);

    it("waiting for a job while the API is away, also between its last two questions", async () => {
      const running: RequestListener = (_, response) => json(response, { id, status: "running" });
      const away = [reset, proxy502, restarting, inThePast, halfAnAnswer];
      const { requests, listener } = inTurn(...away.flatMap((answer) => [answer, running]), ended, reset, ended);
      const retries: unknown[] = [];
      await against(listener, async (baseUrl) => {
        const onRetry = (error: unknown) => void retries.push(error);
        assert.deepEqual(await createClient({ baseUrl }).wait(id, { pollMs: 1, onRetry }), job);
      });
      assert.deepEqual([requests.length, retries.length], [13, 6]);
    });

    it("waiting for a job while nothing listens, until its signal says otherwise", async () => {
      const baseUrl = await against(ended, async (url) => url);
      const giveUp = new AbortController();
      const onRetry = () => giveUp.abort(new Error("enough"));
      const waiting = createClient({ baseUrl }).wait(id, { signal: giveUp.signal, onRetry });
      await assert.rejects(
        waiting,
        (error: Error) => error.message === "enough" || error.cause === giveUp.signal.reason,
      );
    });

    it("but not after what waiting does not help against", async () => {
      const refused = (status: number, code: string) =>
        inTurn((_, response) => json(response, { error: "no", code, request_id: "r" }, status));
      for (const [status, code] of [
        [401, "unauthorized"],
        [404, "job_not_found"],
        [500, "internal"],
        [503, "lip_sync_not_configured"],
      ] as const) {
        const { requests, listener } = refused(status, code);
        await against(listener, async (baseUrl) => {
          const client = createClient({ baseUrl });
          assert.equal((await refusalOf(client.wait(id))).status, status);
          assert.equal((await refusalOf(client.submit("csm", { text: "Hello." }))).status, status);
        });
        assert.equal(requests.length, 2);
      }
      await assert.rejects(createClient({ baseUrl: "http://[" }).wait(id), TypeError);
    });

    it("submitting, under one key, so that there is one job", async () => {
      const accepted: RequestListener = (_, response) => json(response, { id, status: "queued" });
      const { requests, listener } = inTurn(reset, halfAnAnswer, restarting, accepted);
      await against(listener, async (baseUrl) => {
        const client = createClient({ baseUrl });
        assert.equal(await client.submit("csm", { text: "Hello." }), id);
        await client.submit("csm", { text: "Hello." });
        await client.submit("csm", { text: "Hello." }, { idempotencyKey: "mine" });
      });
      const sent = requests.map(({ headers }) => headers["idempotency-key"]);
      assert.equal(new Set(sent.slice(0, 4)).size, 1);
      assert.match(String(sent[0]), /^[0-9a-f-]{36}$/);
      assert.notEqual(sent[4], sent[0]);
      assert.equal(sent[5], "mine");
    });

    it("but submits once when it is refused", async () => {
      const busy: RequestListener = (_, response) =>
        json(response, { error: "no", code: "too_many_requests", request_id: "r" }, 429, { "Retry-After": "0" });
      const { requests, listener } = inTurn(busy);
      await against(listener, async (baseUrl) => {
        assert.equal((await refusalOf(createClient({ baseUrl }).submit("csm", { text: "Hello." }))).status, 429);
      });
      assert.equal(requests.length, 1);
    });

    it("reading events, after the last one that it has read", async () => {
      const entry = (number: number) =>
        `event: status\nid: ${number}\ndata: ${JSON.stringify({ id, status: "running", at: "now", event: "x" })}\n\n`;
      const stream =
        (text: string, how: "end" | "destroy"): RequestListener =>
        (_, response) => {
          response.writeHead(200, { "Content-Type": "text/event-stream" });
          response.write(text, () => setImmediate(() => response[how]()));
        };
      const end = `event: end\nid: end\ndata: ${JSON.stringify({ id, status: "success" })}\n\n`;
      const { requests, listener } = inTurn(
        stream(`: still here\n\n${entry(1)}event: news\ndata: {}\n\n`, "end"),
        stream(`${entry(2)}event: progress\ndata: {"id":"${id}","progress":0.5}\n\nevent: st`, "destroy"),
        reset,
        restarting,
        stream(`${entry(3)}${end}`, "end"),
      );
      await against(listener, async (baseUrl) => {
        const seen: string[] = [];
        for await (const { event } of createClient({ baseUrl }).events(id)) seen.push(event);
        assert.deepEqual(seen, ["status", "status", "progress", "status", "end"]);
      });
      const asked = requests.map(({ headers }) => headers["last-event-id"]);
      assert.deepEqual(asked, [undefined, "1", "2", "2", "2"]);
    });

    it("reading events no longer than its reader, its signal and the job", async () => {
      let open = 0;
      const endless: RequestListener = (_, response) => {
        open += 1;
        response.on("close", () => {
          open -= 1;
        });
        response.writeHead(200).write(`event: progress\ndata: {"id":"${id}","progress":0.5}\n\n`);
      };
      await against(endless, async (baseUrl) => {
        const client = createClient({ baseUrl });
        for await (const { event } of client.events(id)) if (event === "progress") break;
        await eventually("the connection is closed", () => open === 0);
        const giveUp = new AbortController();
        const reading = client.events(id, { signal: giveUp.signal });
        assert.equal((await reading.next()).done, false);
        giveUp.abort(new Error("enough"));
        await assert.rejects(reading.next(), /enough/);
        await eventually("the connection is closed", () => open === 0);
      });
      await against(
        (_, response) => response.writeHead(204).end(),
        async (baseUrl) => assert.equal((await createClient({ baseUrl }).events(id).next()).done, true),
      );
    });
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
