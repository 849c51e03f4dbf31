import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import fc from "fast-check";
import { Hono } from "hono";
import type { ApiEnv } from "../../src/api/context.ts";
import { listen } from "../../src/api/server.ts";
import { loadConfig } from "../../src/config/index.ts";
import { createLogger } from "../../src/process/log.ts";
import { KEY, startTestApi, type TestApi } from "./support.ts";

const ID = "3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11";
const valid = { text: "Hello." };

interface Envelope {
  error: string;
  code: string;
  request_id: string;
  errors?: Record<string, string>;
}

async function envelopeOf(response: Response): Promise<Envelope> {
  const body = (await response.json()) as Envelope;
  assert.equal(typeof body.error, "string");
  assert.match(body.code, /^[a-z_]+$/);
  assert.equal(body.request_id, response.headers.get("X-Request-Id"));
  return body;
}

/** Waits for as long as Node's adapter lets a client send that was refused by an app that does not care. */
async function untilCut(sendTo: (url: string) => Socket): Promise<void> {
  const careless = new Hono<ApiEnv>().all("*", (c) => c.text("no", 413));
  const server = await listen(careless, loadConfig({ PORT: "0" }).api, createLogger("silent"));
  const socket = sendTo(server.url);
  socket.resume();
  await once(socket, "close");
  await server.close(0);
}

describe("a request that cannot be answered", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi({ env: { MAX_BODY_BYTES: "5000" } });
  });
  after(() => api.close());

  describe("POST /csm with a bad body", () => {
    const cases: [title: string, body: unknown, field: string, sentence: RegExp][] = [
      ["no text", {}, "text", /text or monologue is required/],
      ["text and monologue", { ...valid, monologue: ["b"] }, "monologue", /not both/],
      ["an empty text", { text: "" }, "text", /text or monologue is required/],
      ["a text that says nothing", { text: " ." }, "text", /must contain something to say/],
      ["a text that is a number", { text: 5 }, "text", /must be a string/],
      ["a null text", { text: null }, "text", /text or monologue is required/],
      ["a monologue that is a string", { monologue: "a" }, "monologue", /must be an array/],
      ["an empty item", { monologue: ["a", " "] }, "monologue.1", /must contain something to say/],
      ["too many items", { monologue: Array(201).fill("a") }, "monologue", /must be at most 200 items/],
      ["an unknown voice", { ...valid, voice: "robot" }, "voice", /must be one of random, conversational_a/],
      ["a clone of nobody", { ...valid, voice: "clone" }, "reference_audio_url", /is required/],
      [
        "an FTP reference",
        { ...valid, voice: "clone", reference_audio_url: "ftp://a/b" },
        "reference_audio_url",
        /http\(s\) URL/,
      ],
      ["a boolean number", { ...valid, topk: true }, "topk", /must be a number/],
      ["a word for a number", { ...valid, temperature: "hot" }, "temperature", /must be a number/],
      ["NaN in words", { ...valid, temperature: "NaN" }, "temperature", /must be a number/],
      ["a temperature that is too high", { ...valid, temperature: 2.1 }, "temperature", /must be at most 2$/],
      ["topk 0", { ...valid, topk: 0 }, "topk", /must be at least 1$/],
      ["a short max_time", { ...valid, max_time: 59 }, "max_time", /must be at least 60$/],
      ["a long complete_in", { ...valid, complete_in: 86_401 }, "complete_in", /must be at most 86400$/],
      ["an unknown priority", { ...valid, priority: "urgent" }, "priority", /must be one of low, normal, high/],
      ["metadata that is a list", { ...valid, metadata: [1] }, "metadata", /must be an object/],
      ["too much metadata", { ...valid, metadata: { a: "x".repeat(4096) } }, "metadata", /4096 bytes/],
      ["a notify_url that is none", { ...valid, notify_url: "example.com" }, "notify_url", /http\(s\) URL/],
      ["a webhook to this machine", { ...valid, notify_url: "http://2130706433/x" }, "notify_url", /private address/],
      ["a webhook to a private IPv6", { ...valid, notify_url: "http://[fd00::1]/x" }, "notify_url", /private address/],
      ["a webhook to localhost", { ...valid, notify_url: "http://localhost:8080" }, "notify_url", /private address/],
      ["a list", [], "body", /must be an object/],
      ["null", null, "body", /must be an object/],
      ["a string", '"text"', "body", /must be an object/],
    ];
    for (const [title, body, field, sentence] of cases) {
      it(`names the field: ${title}`, async () => {
        const response = await api.post("/csm", body);
        const { code, errors, error } = await envelopeOf(response);
        assert.equal(response.status, 400);
        assert.equal(code, "invalid_body");
        assert.match(errors?.[field] ?? JSON.stringify(errors), sentence);
        assert.ok(error.includes(": "), error);
      });
    }

    it("reports no more than a page of errors", async () => {
      const { errors } = await envelopeOf(await api.post("/csm", { monologue: Array(1000).fill("") }));
      assert.ok(Object.keys(errors ?? {}).length <= 20);
    });
  });

  describe("POST /job/{id} with a bad body", () => {
    const cases: [title: string, body: unknown, field: string][] = [
      ["no status", {}, "status"],
      ["a status that nobody can ask for", { status: "success" }, "status"],
      ["an error that is no text", { status: "failed", error: 1 }, "error"],
      ["a wish to remove the data that is no boolean", { status: "failed", remove_data: "yes" }, "remove_data"],
    ];
    for (const [title, body, field] of cases) {
      it(`names the field: ${title}`, async () => {
        const response = await api.post(`/job/${ID}`, body);
        assert.equal(response.status, 400);
        assert.deepEqual(Object.keys((await envelopeOf(response)).errors ?? {}), [field]);
      });
    }
  });

  for (const [title, body] of [
    ["nothing", ""],
    ["half an object", '{"text":'],
    ["not JSON at all", "text=hello"],
    ["single quotes", "{'text': 'a'}"],
    ["a bare NaN", '{"text": "a", "topk": NaN}'],
  ] as const) {
    it(`answers 400 to malformed JSON: ${title}`, async () => {
      const response = await api.post("/csm", body);
      assert.equal(response.status, 400);
      assert.equal((await envelopeOf(response)).code, "malformed_json");
    });
  }

  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "application/jsonx",
    "",
  ]) {
    it(`answers 415 to the content type "${type}"`, async () => {
      const response = await api.post("/csm", valid, { "Content-Type": type });
      assert.equal(response.status, 415);
      assert.equal((await envelopeOf(response)).code, "unsupported_media_type");
    });
  }

  for (const type of ["application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"]) {
    it(`reads the content type "${type}"`, async () => {
      assert.equal((await api.post("/csm", {}, { "Content-Type": type })).status, 400);
    });
  }

  for (const id of ["1", "not-a-uuid", `${ID}0`, `${ID}%00`, "%E0%A4%A", "..%2f..%2fetc", ID.replaceAll("-", "")]) {
    for (const [method, path] of [
      ["GET", "status"],
      ["GET", "result"],
      ["POST", "job"],
    ] as const) {
      it(`answers 400 to ${method} /${path}/${id}`, async () => {
        const response = await api.fetch(`/${path}/${id}`, { method });
        assert.equal(response.status, 400);
        const { error, code } = await envelopeOf(response);
        assert.deepEqual({ error, code }, { error: "Invalid job ID format", code: "invalid_job_id" });
      });
    }
  }

  for (const [method, path, allow] of [
    ["GET", "/csm", "POST"],
    ["PUT", "/csm", "POST"],
    ["DELETE", `/status/${ID}`, "GET, HEAD"],
    ["POST", `/result/${ID}`, "GET, HEAD"],
    ["GET", `/job/${ID}`, "POST"],
    ["POST", "/healthz", "GET, HEAD"],
    ["OPTIONS", "/csm", "POST"],
    ["PATCH", "/", "GET, HEAD"],
  ] as const) {
    for (const base of ["", "/api/v0"]) {
      it(`answers 405 to ${method} ${base}${path}`, async () => {
        const response = await api.fetch(base + (base === "" || path !== "/" ? path : ""), { method });
        assert.equal(response.status, 405);
        assert.equal(response.headers.get("Allow"), allow);
        assert.equal((await envelopeOf(response)).code, "method_not_allowed");
      });
    }
  }

  for (const path of ["/nothing", "/api/v1/csm", "/status", "/csm/extra", "//csm"]) {
    it(`answers 404 to ${path}`, async () => {
      const response = await api.fetch(path);
      assert.equal(response.status, 404);
      assert.equal((await envelopeOf(response)).code, "route_not_found");
    });
  }

  it("answers 413 to a body that says it is too large", async () => {
    const response = await api.post("/csm", { text: "a".repeat(6000) });
    assert.equal(response.status, 413);
    assert.equal((await envelopeOf(response)).code, "body_too_large");
  });

  it("answers 413 to an endless body that does not say how large it is", async () => {
    let sent = 0;
    const endless = Readable.from(
      (function* () {
        for (;;) {
          sent += 1000;
          yield "a".repeat(1000);
        }
      })(),
    );
    const headers = { "Content-Type": "application/json", "X-C3-RENDER-KEY": KEY };
    const status = await new Promise((resolve, reject) => {
      const upload = request(`${api.url}/csm`, { method: "POST", headers }, (response) => {
        resolve(response.statusCode);
        upload.destroy();
      });
      upload.on("error", reject);
      endless.pipe(upload);
    });
    endless.destroy();
    assert.equal(status, 413);
    assert.ok(sent < 10_000_000, `${sent} bytes were taken`);
  });

  for (const [path, key, status] of [
    ["/csm", KEY, 413],
    ["/csm", "wrong", 401],
    ["/nothing", KEY, 404],
  ] as const) {
    it(`answers ${status} to who still sends, and reads the answer only then: POST ${path}`, async () => {
      const bytes = 1_000_000;
      const lines = [
        `POST ${path} HTTP/1.1`,
        "Host: localhost",
        `X-C3-RENDER-KEY: ${key}`,
        "Content-Type: application/json",
        `Content-Length: ${bytes}`,
        "Connection: close",
      ];
      const half = "a".repeat(bytes / 2);
      const sendTo = (url: string) => {
        const socket = connect(Number(new URL(url).port), "127.0.0.1");
        socket.on("error", () => {});
        socket.write(`${lines.join("\r\n")}\r\n\r\n${half}`);
        return socket;
      };
      const socket = sendTo(api.url);
      await untilCut(sendTo);
      socket.end(half);
      const answer = Buffer.concat(await socket.toArray()).toString();
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
    });
  }

  it("answers 400 to a Host that is none", async () => {
    const answer = await rawRequest(api.url, "GET /healthz HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n");
    assert.match(answer, /^HTTP\/1.1 400 /);
    assert.match(answer, /"code":"bad_request"/);
  });

  it("answers 503 with Retry-After while Temporal cannot be reached", async () => {
    for (const response of await Promise.all([api.post("/csm", valid), api.fetch(`/status/${ID}`)])) {
      assert.equal(response.status, 503);
      assert.match(response.headers.get("Retry-After") ?? "", /^\d+$/);
      const { code, error } = await envelopeOf(response);
      assert.equal(code, "temporal_unavailable");
      assert.doesNotMatch(error, /127\.0\.0\.1|ECONN|grpc/i);
    }
  });

  it("says that it is not ready while Temporal cannot be reached", async () => {
    const response = await fetch(`${api.url}/readyz`);
    assert.equal(response.status, 503);
    assert.match(response.headers.get("Retry-After") ?? "", /^\d+$/);
    assert.deepEqual(((await response.json()) as { missing: string[] }).missing, ["Temporal cannot be reached"]);
    assert.deepEqual(await (await fetch(`${api.url}/healthz`)).json(), { status: "ok" });
    const root = (await (await fetch(`${api.url}/api/v0`)).json()) as { status: string; timestamp: string };
    assert.equal(root.status, "C3 Render API is running");
    assert.match(root.timestamp, /^\d{4}-.*Z$/);
  });

  it("never answers with a 500, whatever the body", async () => {
    const field = fc.constantFrom(
      "text",
      "monologue",
      "voice",
      "topk",
      "metadata",
      "notify_url",
      "max_time",
      "__proto__",
    );
    const bad = fc.dictionary(field, fc.jsonValue({ maxDepth: 3 })).map((body) => ({ ...body, complete_in: "never" }));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          bad.map((body) => JSON.stringify(body)),
        ),
        async (body) => {
          const { status } = await api.post("/csm", body);
          assert.equal(status, 400);
        },
      ),
      { numRuns: 200 },
    );
  });

  it("survives a body that is nested beyond every stack", async () => {
    const wide = await startTestApi();
    try {
      const nested = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
      assert.equal((await wide.post("/csm", nested)).status, 400);
      assert.equal((await wide.post("/csm", `{"text":"a","metadata":{"a":${nested}}}`)).status, 400);
    } finally {
      await wide.close();
    }
  });
});

/** Sends `text` as it is and reads until the server closes. */
async function rawRequest(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.end(text);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}
