import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { connect } from "node:net";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { parseJson } from "../../src/api/http/json.ts";
import { InexactNumber } from "../../src/jobs/fields.ts";
import { csmSchema } from "../../src/jobs/kinds/csm.ts";
import { startTestApi, type TestApi } from "./support.ts";

const MAX_BYTES = 5000;
/** Understood and refused: there is no text in it. */
const body = JSON.stringify({ metadata: { name: "Grüße, 世界 🦄" } });
const bytes = Buffer.from(body);

describe("the body of a request", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi({ env: { MAX_BODY_BYTES: String(MAX_BYTES) } });
  });
  after(() => api.close());

  async function send(content: Uint8Array, headers: Record<string, string> = {}) {
    const all = { "Content-Type": "application/json", ...headers };
    const response = await api.fetch("/csm", { method: "POST", headers: all, body: content });
    const { code } = (await response.json()) as { code: string };
    return { status: response.status, code, headers: response.headers };
  }
  async function expect(content: Uint8Array, encoding: string | undefined, status: number, code: string) {
    const sent = await send(content, encoding === undefined ? {} : { "Content-Encoding": encoding });
    assert.deepEqual([sent.status, sent.code], [status, code]);
    return sent;
  }

  for (const [title, content, encoding] of [
    ["plain", bytes, undefined],
    ["identity", bytes, "identity"],
    ["with a mark of the byte order", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes]), undefined],
    ["gzip", gzipSync(bytes), "gzip"],
    ["GZIP", gzipSync(bytes), "GZIP"],
    ["x-gzip", gzipSync(bytes), "x-gzip"],
    ["deflate", deflateSync(bytes), "deflate"],
    ["deflate without its header", deflateRawSync(bytes), "deflate"],
    ["br", brotliCompressSync(bytes), "br"],
    ["br, then gzip", gzipSync(brotliCompressSync(bytes)), "br, gzip"],
    ["gzip and identity", gzipSync(bytes), "identity, gzip"],
  ] as const) {
    it(`is read: ${title}`, () => expect(content, encoding, 400, "invalid_body"));
  }

  for (const [title, content] of [
    ["Latin-1", Buffer.from(body, "latin1")],
    ["UTF-16", Buffer.from(body, "utf16le")],
    ["UTF-16 with its mark", Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(body, "utf16le")])],
    ["half a character", bytes.subarray(0, bytes.indexOf(Buffer.from("🦄")) + 2)],
    ["a surrogate alone", Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ["a character that is written too long", Buffer.from([0x22, 0xc0, 0xaf, 0x22])],
    ["bytes of nothing", Buffer.from([0x80, 0xff, 0xfe])],
  ] as const) {
    it(`is refused when it is not UTF-8: ${title}`, async () => {
      await expect(content, undefined, 400, "body_not_utf8");
      await expect(gzipSync(content), "gzip", 400, "body_not_utf8");
    });
  }

  for (const [title, content, encoding] of [
    ["plain bytes", bytes, "gzip"],
    ["plain bytes", bytes, "deflate"],
    ["plain bytes", bytes, "br"],
    ["gzip", gzipSync(bytes), "br"],
    ["half of it", gzipSync(bytes).subarray(0, 30), "gzip"],
    ["nothing", Buffer.alloc(0), "gzip"],
    ["gzip once", gzipSync(bytes), "gzip, gzip"],
  ] as const) {
    it(`is refused when it says ${encoding} and is ${title}`, () => expect(content, encoding, 400, "undecodable_body"));
  }

  for (const encoding of ["zstd", "compress", "aes128gcm", "gzip, zstd", "gzip;q=1", "constructor", "gzip,gzip,gzip"]) {
    it(`is refused with 415 in an encoding that is not known: ${encoding}`, async () => {
      const { headers } = await expect(gzipSync(bytes), encoding, 415, "unsupported_content_encoding");
      assert.equal(headers.get("Accept-Encoding"), "gzip, deflate, br");
    });
  }

  it("is refused with 413 when it is too large once it is decoded, whatever it was before", async () => {
    const large = Buffer.from(JSON.stringify({ text: "a".repeat(50_000_000) }));
    for (const [encoding, content] of [
      ["gzip", gzipSync(large)],
      ["deflate", deflateSync(large)],
      ["br", brotliCompressSync(large)],
      ["gzip, gzip", gzipSync(gzipSync(large))],
    ] as const) {
      await expect(content, encoding, 413, "body_too_large");
    }
    const fits = Buffer.from(JSON.stringify({ a: "x".repeat(MAX_BYTES - 8) }));
    assert.equal(fits.length, MAX_BYTES);
    await expect(gzipSync(fits), "gzip", 400, "invalid_body");
    await expect(gzipSync(Buffer.concat([fits, Buffer.from(" ")])), "gzip", 413, "body_too_large");
  });
});

describe("a number of JSON", () => {
  const inexact = ["9007199254740993", "12345678901234567890", "-12345678901234567891", "1e400", "-1e400", "1e+999"];
  const exact = ["0", "-0", "0.1", "1e21", "1E+21", "9007199254740992", "1e308", "5e-324", "0.30000000000000004"];
  const schema = csmSchema({ maxTimeSeconds: 1200, completeInSeconds: 3600, maxTextChars: 1000 });

  for (const digits of inexact) {
    it(`is known to be changed: ${digits}`, () => {
      const parsed = parseJson(`{"a": [${digits}, "${digits}"], "b": 1}`) as { a: unknown[]; b: number };
      assert.deepEqual(parsed, { a: [new InexactNumber(digits), digits], b: 1 });
      const { error } = schema.safeParse({ text: "Hello.", metadata: parsed });
      assert.match(error?.issues[0]?.message ?? "", new RegExp(`cannot keep the number ${digits.replace("+", "\\+")}`));
      assert.deepEqual(error?.issues[0]?.path, ["metadata"]);
      const tooMuch = schema.safeParse(parseJson(`{"text": "Hello.", "topk": ${digits}}`));
      assert.deepEqual(tooMuch.error?.issues[0]?.path, ["topk"]);
    });
  }

  for (const digits of exact) {
    it(`is itself: ${digits}`, () => {
      const text = `{"a": ${digits}, "b": "${"1".repeat(30)} \\" ${"2".repeat(30)}"}`;
      assert.deepEqual(parseJson(text), JSON.parse(text));
      const { metadata } = schema.parse({ text: "Hello.", metadata: parseJson(text) });
      assert.deepEqual(metadata, JSON.parse(text));
    });
  }

  it("does not hide what else is in the text", () => {
    const text = `{"__proto__": {"x": 12345678901234567890}, "\\"": [{}, [], null, true, "\\u0000\\\\"], "e": -1.5e-3}`;
    const parsed = JSON.stringify(parseJson(text));
    assert.equal(
      parsed,
      JSON.stringify(JSON.parse(text)).replace("12345678901234567000", '{"digits":"12345678901234567890"}'),
    );
  });

  it("is a SyntaxError where it is none, and nested beyond every stack a RangeError at most", () => {
    for (const text of ["", "{", "12345678901234567890x", '{"a": 12345678901234567890']) {
      assert.throws(() => parseJson(text), SyntaxError);
    }
    const nested = `${"[".repeat(300_000)}12345678901234567890${"]".repeat(300_000)}`;
    assert.throws(() => parseJson(nested), RangeError);
  });
});

describe("metadata", () => {
  const schema = csmSchema({ maxTimeSeconds: 1200, completeInSeconds: 3600, maxTextChars: 1000 });
  for (const text of [
    '{"b":1,"a":2,"":3," ":4}',
    '{"__proto__":{"status":"success"},"constructor":null,"toString":1,"hasOwnProperty":[]}',
    '{"a":null,"b":[null,[null]],"c":{"d":null}}',
    '{"unicode":"Grüße 世界 🦄 \\u0000","lone":"\\ud800"}',
    '{"n":[1e+21,0.1,9007199254740991,-1,5e-324],"t":true,"f":false,"e":{}}',
  ]) {
    it(`comes back as it was sent: ${text}`, () => {
      const { metadata } = schema.parse({ text: "Hello.", metadata: parseJson(text) });
      assert.equal(JSON.stringify(metadata), text);
    });
  }
});

describe("a request of HTTP/1.0 without a Host", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi();
  });
  after(() => api.close());

  /** Sends `text` as it is and reads until the server closes. */
  async function raw(text: string): Promise<string> {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    socket.end(text);
    let answer = "";
    for await (const chunk of socket) answer += chunk;
    return answer;
  }

  for (const [path, status] of [
    ["/healthz", 200],
    ["/", 200],
    ["/api/v0/healthz", 200],
    ["/openapi.json", 200],
    [`/status/${randomUUID()}`, 401],
    ["/nothing", 401],
  ] as const) {
    it(`is answered: ${path}`, async () => {
      for (const header of ["", "Host:\r\n"]) {
        assert.match(await raw(`GET ${path} HTTP/1.0\r\n${header}\r\n`), new RegExp(`^HTTP/1\\.1 ${status} `));
      }
      assert.match(await raw(`HEAD ${path} HTTP/1.0\r\n\r\n`), new RegExp(`^HTTP/1\\.1 ${status} `));
    });
  }
});
