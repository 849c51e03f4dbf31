import assert from "node:assert/strict";
import { Hono } from "hono";
import { baseUrlOf } from "../../src/api/links.ts";

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
