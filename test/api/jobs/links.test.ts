import assert from "node:assert/strict";
import { Hono } from "hono";
import { baseUrlOf, pathFor } from "../../../src/api/jobs/links.ts";

interface Proxying {
  publicUrl?: string;
  trustProxy?: boolean;
}

async function baseUrl(headers: Record<string, string>, { publicUrl, trustProxy = false }: Proxying = {}) {
  const app = new Hono().get("/", (c) => c.text(baseUrlOf(c, { publicUrl, trustProxy })));
  return await (await app.request("http://api.internal:5000/", { headers })).text();
}

const forwarded = { "X-Forwarded-Proto": "https", "X-Forwarded-Host": "render.example" };

describe("the base of links", () => {
  it("is the origin that was asked", async () => {
    assert.equal(await baseUrl({}), "http://api.internal:5000");
    assert.equal(await baseUrl(forwarded), "http://api.internal:5000");
  });

  it("is what a trusted proxy says", async () => {
    const trusted = { trustProxy: true };
    assert.equal(await baseUrl(forwarded, trusted), "https://render.example");
    assert.equal(await baseUrl({ "X-Forwarded-Proto": "https, http" }, trusted), "https://api.internal:5000");
    assert.equal(await baseUrl({}, trusted), "http://api.internal:5000");
  });

  for (const host of ["evil.example/path", "user@evil.example", "a b", "[", "javascript:alert(1)"]) {
    it(`is the origin that was asked when the proxy says "${host}"`, async () => {
      const headers = { "X-Forwarded-Host": host };
      assert.equal(await baseUrl(headers, { trustProxy: true }), "http://api.internal:5000");
    });
  }

  it("is the configured one before all others", async () => {
    const publicUrl = "https://public.example/render";
    assert.equal(await baseUrl(forwarded, { publicUrl, trustProxy: true }), publicUrl);
  });
});

describe("the path of something in an answer", () => {
  async function path(
    asked: string,
    headers: Record<string, string> = {},
    { publicUrl, trustProxy = false }: Proxying = {},
  ) {
    const app = new Hono().all("*", (c) => c.text(pathFor(c, "/jobs/1", { publicUrl, trustProxy })));
    return await (await app.request(`http://api.internal:5000${asked}`, { method: "POST", headers })).text();
  }
  const prefixed = (prefix: string) => ({ "X-Forwarded-Prefix": prefix });
  const trusted = { trustProxy: true };

  for (const [asked, expected] of [
    ["/csm", "/jobs/1"],
    ["/jobs", "/jobs/1"],
    ["/csm/", "/jobs/1"],
    ["/api/v0/csm", "/api/v0/jobs/1"],
    ["/api/v0/jobs", "/api/v0/jobs/1"],
  ] as const) {
    it(`is under the base path that was asked: ${asked}`, async () => {
      assert.equal(await path(asked), expected);
      assert.equal(await path(asked, prefixed("/render")), expected);
      assert.equal(await path(asked, prefixed("/render"), trusted), `/render${expected}`);
      assert.equal(await path(asked, prefixed("/a/b-c/, /d"), trusted), `/a/b-c${expected}`);
      assert.equal(await path(asked, {}, { publicUrl: "https://public.example/render" }), `/render${expected}`);
      assert.equal(await path(asked, {}, { publicUrl: "https://public.example" }), expected);
    });
  }

  for (const prefix of ["//evil.example", "/\\evil.example", "evil", "/a//b", "/a?b", "/a#b", "/a b", "/", ""]) {
    it(`has no prefix "${prefix}"`, async () => {
      assert.equal(await path("/csm", prefixed(prefix), trusted), "/jobs/1");
      assert.equal(await baseUrl(prefixed(prefix), trusted), "http://api.internal:5000");
    });
  }

  it("is under the same prefix as links are", async () => {
    assert.equal(await baseUrl({ ...forwarded, ...prefixed("/render/") }, trusted), "https://render.example/render");
    assert.equal(await baseUrl(prefixed("/render")), "http://api.internal:5000");
  });
});
