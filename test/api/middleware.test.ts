import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { pino } from "pino";
import { ConfigError } from "../../src/config/index.ts";
import { KEY, startTestApi, type TestApi } from "./support.ts";

const ID = "3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11";

describe("the API's key", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi();
  });
  after(() => api.close());

  /** POST /csm is answered with 400 to who may ask, because the body is bad. */
  const statusWith = async (headers: Record<string, string>, path = "/csm") =>
    await fetch(`${api.url}${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: "{}",
    });

  for (const [title, headers] of [
    ["its own header", { "X-C3-RENDER-KEY": KEY }],
    ["a bearer token", { Authorization: `Bearer ${KEY}` }],
    ["a bearer token in lower case", { authorization: `bearer ${KEY}` }],
    ["either of both", { Authorization: "Bearer wrong", "X-C3-RENDER-KEY": KEY }],
  ] as const) {
    it(`is taken as ${title}`, async () => {
      assert.equal((await statusWith(headers)).status, 400);
      assert.equal((await statusWith(headers, "/api/v0/csm")).status, 400);
    });
  }

  for (const [title, headers, code] of [
    ["nothing", {}, "missing_key"],
    ["a wrong key", { "X-C3-RENDER-KEY": "wrong" }, "invalid_key"],
    ["an empty key", { "X-C3-RENDER-KEY": "" }, "invalid_key"],
    ["part of the key", { "X-C3-RENDER-KEY": KEY.slice(0, -1) }, "invalid_key"],
    ["a wrong bearer token", { Authorization: "Bearer wrong" }, "invalid_key"],
    ["the key as a basic password", { Authorization: `Basic ${btoa(`:${KEY}`)}` }, "missing_key"],
    ["the key in the query", {}, "missing_key"],
  ] as const) {
    it(`is missed with 401: ${title}`, async () => {
      const response = await statusWith(headers, title.includes("query") ? `/csm?key=${KEY}` : "/csm");
      assert.equal(response.status, 401);
      assert.equal(response.headers.get("WWW-Authenticate"), "Bearer");
      const body = (await response.json()) as { code: string; request_id: string };
      assert.equal(body.code, code);
      assert.equal(body.request_id, response.headers.get("X-Request-Id"));
    });
  }

  it("is needed everywhere but for what is open", async () => {
    for (const path of ["/", "/healthz", "/readyz", "/api/v0", "/api/v0/healthz"]) {
      assert.notEqual((await fetch(`${api.url}${path}`)).status, 401, path);
    }
    for (const path of [`/status/${ID}`, `/result/${ID}`, `/api/v0/status/${ID}`, "/nothing"]) {
      assert.equal((await fetch(`${api.url}${path}`)).status, 401, path);
    }
  });

  it("may only be left out on loopback, or when that is asked for", async () => {
    const open = { C3_RENDER_API_KEY: "" };
    await assert.rejects(startTestApi({ env: { ...open, HOST: "0.0.0.0" } }), ConfigError);
    for (const env of [open, { ...open, HOST: "0.0.0.0", ALLOW_UNAUTHENTICATED: "true" }]) {
      const unlocked = await startTestApi({ env });
      assert.equal((await fetch(`${unlocked.url}/status/1`)).status, 400);
      await unlocked.close();
    }
  });
});

describe("every answer", () => {
  let api: TestApi;
  const lines: string[] = [];
  before(async () => {
    const sink = new Writable({
      write(chunk, _encoding, done) {
        lines.push(String(chunk));
        done();
      },
    });
    api = await startTestApi({ log: pino({ level: "info" }, sink), env: { CORS_ORIGINS: "https://app.example" } });
  });
  after(() => api.close());

  it("carries the request id that was sent, or one of its own", async () => {
    const sent = await api.fetch("/healthz", { headers: { "X-Request-Id": "my-request_1" } });
    assert.equal(sent.headers.get("X-Request-Id"), "my-request_1");
    const own = await api.fetch("/healthz", { headers: { "X-Request-Id": 'no "such" id' } });
    assert.match(own.headers.get("X-Request-Id") ?? "", /^[0-9a-f-]{36}$/);
  });

  it("carries security headers, errors too", async () => {
    for (const path of ["/healthz", "/nothing", "/status/1"]) {
      const { headers } = await api.fetch(path);
      assert.equal(headers.get("X-Content-Type-Options"), "nosniff");
      assert.equal(headers.get("Content-Security-Policy"), "default-src 'none'");
      assert.equal(headers.get("X-Powered-By"), null);
    }
  });

  it("is shared with other origins only where that is configured", async () => {
    const preflight = (url: string, origin: string) =>
      fetch(`${url}/csm`, { method: "OPTIONS", headers: { Origin: origin, "Access-Control-Request-Method": "POST" } });
    const allowed = await preflight(api.url, "https://app.example");
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers.get("Access-Control-Allow-Origin"), "https://app.example");
    assert.match(allowed.headers.get("Access-Control-Allow-Headers") ?? "", /X-C3-RENDER-KEY/);
    const other = await preflight(api.url, "https://evil.example");
    assert.equal(other.headers.get("Access-Control-Allow-Origin"), null);
    const closed = await startTestApi();
    const off = await preflight(closed.url, "https://app.example");
    assert.equal(off.headers.get("Access-Control-Allow-Origin"), null);
    await closed.close();
  });

  it("may be asked for by browsers with all that they and their libraries send, and read in all that it says", async () => {
    const headers = (names: string | null) =>
      new Set((names ?? "").split(",").map((name) => name.trim().toLowerCase()));
    const wanted = [
      ...[
        "range",
        "if-range",
        "if-none-match",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "authorization",
      ],
      ...["x-c3-render-key", "idempotency-key", "prefer", "content-type", "content-encoding", "last-event-id"],
    ];
    for (const path of ["/csm", "/api/v0/jobs", `/status/${ID}`, "/gpus", "/files/results/a.mp3", "/nothing"]) {
      const preflight = await fetch(`${api.url}${path}`, {
        method: "OPTIONS",
        headers: {
          Origin: "https://app.example",
          "Access-Control-Request-Method": "GET",
          "Access-Control-Request-Headers": wanted.join(","),
        },
      });
      assert.equal(preflight.status, 204, path);
      assert.ok(Number(preflight.headers.get("Access-Control-Max-Age")) >= 600);
      const allowed = headers(preflight.headers.get("Access-Control-Allow-Headers"));
      for (const name of wanted) assert.ok(allowed.has(name), name);
      const methods = headers(preflight.headers.get("Access-Control-Allow-Methods"));
      for (const method of ["get", "post", "patch", "delete"]) assert.ok(methods.has(method), method);
    }
    const said = [
      ...["content-range", "accept-ranges", "content-length", "content-disposition", "etag", "location"],
      ...["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "ratelimit-policy", "retry-after"],
      ...["idempotent-replayed", "preference-applied", "x-request-id"],
    ];
    for (const path of ["/healthz", "/nothing", "/status/1"]) {
      const answer = await api.fetch(path, { headers: { Origin: "https://app.example" } });
      assert.equal(answer.headers.get("Access-Control-Allow-Origin"), "https://app.example", path);
      const exposed = headers(answer.headers.get("Access-Control-Expose-Headers"));
      for (const name of said) assert.ok(exposed.has(name), name);
    }
  });

  it("is logged in one line, without keys and query strings", async () => {
    lines.length = 0;
    const response = await api.fetch("/status/1?signature=secret-in-query");
    const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.equal(logged.length, 1);
    const { requestId, method, path, status } = logged[0]!;
    assert.deepEqual(
      { requestId, method, path, status },
      { requestId: response.headers.get("X-Request-Id"), method: "GET", path: "/status/1", status: 400 },
    );
    assert.doesNotMatch(lines.join(""), new RegExp(`secret-in-query|${KEY}`));
  });
});

describe("Strict-Transport-Security", () => {
  for (const [what, env, sent] of [
    ["not without TLS", {}, null],
    ["not behind a proxy without it", { PUBLIC_URL: "http://render.example.com" }, null],
    ["behind a proxy that has it", { PUBLIC_URL: "https://render.example.com" }, "max-age=15552000"],
  ] as const) {
    it(`is sent ${what}`, async () => {
      const api = await startTestApi({ env });
      assert.equal((await api.fetch("/healthz")).headers.get("Strict-Transport-Security"), sent);
      await api.close();
    });
  }
});
