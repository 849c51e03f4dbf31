import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Hono } from "hono";
import type { ApiEnv } from "../../src/api/context.ts";
import { errorResponse } from "../../src/api/http/errors.ts";
import { codecRoutes } from "../../src/api/routes/codec.ts";
import { createLogger } from "../../src/process/log.ts";
import { KEY, startTestApi, type TestApi } from "./support.ts";

const UI = "http://127.0.0.1:8233";
const OTHER_ORIGIN = "https://app.example.com";
const env = {
  TEMPORAL_PAYLOAD_KEYS: `k1:${randomBytes(32).toString("base64")}`,
  TEMPORAL_UI_ORIGIN: UI,
  CORS_ORIGINS: OTHER_ORIGIN,
};
const base64 = (text: string) => Buffer.from(text).toString("base64");
const plain = { metadata: { encoding: base64("json/plain") }, data: base64('{"text":"Hello."}') };

describe("the codec endpoint", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi({ env });
  });
  after(() => api.close());

  async function ask(path: string, payloads: unknown[], headers: Record<string, string> = {}) {
    const response = await api.post(path, { payloads }, { "X-Namespace": "c3-render", ...headers });
    const { payloads: answered } = (await response.json()) as { payloads: (typeof plain)[] };
    return { status: response.status, payloads: answered };
  }

  for (const base of ["", "/api/v0"]) {
    it(`encrypts, and decrypts again, under ${base}/codec`, async () => {
      const encoded = await ask(`${base}/codec/encode`, [plain]);
      assert.equal(encoded.status, 200);
      assert.equal(encoded.payloads[0]!.metadata.encoding, base64("binary/encrypted"));
      assert.ok(!JSON.stringify(encoded).includes(plain.data));
      const decoded = await ask(`${base}/codec/decode`, [...encoded.payloads, plain]);
      assert.deepEqual(decoded, { status: 200, payloads: [plain, plain] });
    });
  }

  it("takes payloads of megabytes, as Temporal does, and refuses what is larger than any event", async () => {
    const large = { ...plain, data: randomBytes(2 * 1024 * 1024).toString("base64") };
    const { payloads } = await ask("/codec/encode", [large]);
    assert.deepEqual((await ask("/codec/decode", payloads)).payloads, [large]);
    assert.equal((await ask("/codec/decode", [{ ...plain, data: "A".repeat(17 * 1024 * 1024) }])).status, 413);
  });

  it("says of a payload why it cannot be decrypted, beside those that can", async () => {
    const [encrypted] = (await ask("/codec/encode", [plain])).payloads;
    const damaged = { ...encrypted!, data: base64("not this") };
    const unknown = { ...encrypted!, metadata: { ...encrypted!.metadata, "encryption-key-id": base64("k0") } };
    const { status, payloads } = await ask("/codec/decode", [damaged, unknown, encrypted]);
    assert.equal(status, 200);
    const sentences = payloads.slice(0, 2).map(({ data }) => JSON.parse(atob(data)).unreadable);
    assert.deepEqual(sentences, [
      'a payload is not what the key "k1" encrypted: damaged, or by another key',
      'a payload is encrypted with the key "k0", which is not known here',
    ]);
    assert.deepEqual(payloads[2], plain);
  });

  it("answers bad bodies with 4xx", async () => {
    const bodies: unknown[] = [
      "",
      "{",
      "null",
      "[]",
      "{}",
      '{"payloads":null}',
      '{"payloads":{}}',
      '{"payloads":[null]}',
      '{"payloads":["text"]}',
      '{"payloads":[{"data":1}]}',
      '{"payloads":[{"data":"%%%"}]}',
      '{"payloads":[{"metadata":[]}]}',
      '{"payloads":[{"metadata":{"encoding":1}}]}',
      '{"payloads":[{"metadata":{"encoding":"*"}}]}',
    ];
    for (const path of ["/codec/decode", "/codec/encode"]) {
      for (const body of bodies) assert.equal((await api.post(path, body)).status, 400, `${path} ${body}`);
      assert.equal((await api.post(path, "x=1", { "Content-Type": "text/plain" })).status, 415);
      assert.equal((await api.fetch(path)).status, 405);
    }
    assert.equal((await api.post("/codec", { payloads: [] })).status, 404);
  });

  it("takes empty payloads, and none", async () => {
    const bare = [{}, { metadata: null, data: null }, { metadata: { __proto__x: "" } }];
    assert.equal((await ask("/codec/decode", bare)).status, 200);
    assert.equal((await ask("/codec/encode", bare)).status, 200);
    assert.deepEqual((await ask("/codec/decode", [])).payloads, []);
  });

  it("needs a key, also as the bearer token that the CLI and the Web UI send", async () => {
    const call = (headers: Record<string, string>) =>
      fetch(`${api.url}/codec/decode`, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...headers },
        body: JSON.stringify({ payloads: [plain] }),
      });
    assert.equal((await call({})).status, 401);
    assert.equal((await call({ Authorization: "Bearer wrong" })).status, 401);
    assert.equal((await call({ Authorization: `Bearer ${KEY}` })).status, 200);
  });

  it("needs the key of an administrator", async () => {
    const log = createLogger("silent");
    const app = new Hono<ApiEnv>()
      .use(async (c, next) => {
        c.set("caller", { tenant: "somebody", admin: false });
        await next();
      })
      .route("/", codecRoutes(api));
    app.onError((error, c) => errorResponse(error, c, log));
    for (const path of ["/codec/decode", "/codec/encode"]) {
      const response = await app.request(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ payloads: [plain] }),
      });
      assert.equal(response.status, 403);
      assert.equal(((await response.json()) as { code: string }).code, "admin_required");
    }
  });

  it("may be called by the Web UI's pages, and by no others", async () => {
    const preflight = (path: string, origin: string) =>
      fetch(`${api.url}${path}`, {
        method: "OPTIONS",
        headers: {
          Origin: origin,
          "Access-Control-Request-Method": "POST",
          "Access-Control-Request-Headers": "content-type,x-namespace,authorization",
        },
      });
    const allowed = await preflight("/codec/decode", UI);
    assert.equal(allowed.status, 204);
    assert.equal(allowed.headers.get("access-control-allow-origin"), UI);
    assert.match(allowed.headers.get("access-control-allow-headers") ?? "", /x-namespace/i);
    for (const origin of [OTHER_ORIGIN, "http://localhost:8233", "null"]) {
      for (const path of ["/codec/decode", "/api/v0/codec/decode"]) {
        assert.equal((await preflight(path, origin)).headers.get("access-control-allow-origin"), null, origin);
      }
    }
    const answer = await api.post("/codec/decode", { payloads: [] }, { Origin: UI });
    assert.equal(answer.headers.get("access-control-allow-origin"), UI);
    assert.equal((await preflight("/jobs", UI)).headers.get("access-control-allow-origin"), null);
    assert.equal((await preflight("/jobs", OTHER_ORIGIN)).headers.get("access-control-allow-origin"), OTHER_ORIGIN);
  });

  it("is not there without keys, nor open to pages without the Web UI's origin", async () => {
    const without = await startTestApi({ env: { TEMPORAL_UI_ORIGIN: UI } });
    const shut = await startTestApi({ env: { ...env, TEMPORAL_UI_ORIGIN: "", CORS_ORIGINS: "*" } });
    try {
      assert.equal((await without.post("/codec/decode", { payloads: [plain] })).status, 404);
      const answer = await shut.post("/codec/decode", { payloads: [plain] }, { Origin: UI });
      assert.equal(answer.headers.get("access-control-allow-origin"), null);
    } finally {
      await without.close();
      await shut.close();
    }
  });
});
