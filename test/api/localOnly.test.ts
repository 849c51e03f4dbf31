import assert from "node:assert/strict";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { startTestApi, type TestApi } from "./support.ts";

interface Case {
  what: string;
  host: string;
  method?: string;
  headers?: Record<string, string>;
  refused?: "misdirected_request" | "cross_site_request";
}

const own = { Origin: "http://127.0.0.1" };
const cases: Case[] = [
  { what: "an address of this machine", host: "127.0.0.1" },
  { what: "another one", host: "127.8.9.10:5000" },
  { what: "its name", host: "localhost:5000" },
  { what: "a name below it", host: "render.localhost" },
  { what: "IPv6", host: "[::1]:5000" },
  { what: "PUBLIC_URL", host: "render.example.com" },
  { what: "a name that leads here", host: "rebound.example.net", refused: "misdirected_request" },
  { what: "one that begins like localhost", host: "localhost.example.net", refused: "misdirected_request" },
  { what: "one that begins like an address", host: "127.0.0.1.example.net", refused: "misdirected_request" },
  { what: "an address elsewhere", host: "10.0.0.1", refused: "misdirected_request" },
  { what: "a program's POST", host: "127.0.0.1", method: "POST" },
  {
    what: "a POST of the own page",
    host: "127.0.0.1",
    method: "POST",
    headers: { ...own, "Sec-Fetch-Site": "same-origin" },
  },
  { what: "a POST of the own page in an old browser", host: "127.0.0.1", method: "POST", headers: own },
  {
    what: "a POST of a page that is allowed",
    host: "127.0.0.1",
    method: "POST",
    headers: { Origin: "https://studio.example.com", "Sec-Fetch-Site": "cross-site" },
  },
  {
    what: "a POST of another page",
    host: "127.0.0.1",
    method: "POST",
    headers: { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" },
    refused: "cross_site_request",
  },
  {
    what: "the same in an old browser",
    host: "127.0.0.1",
    method: "POST",
    headers: { Origin: "https://evil.example" },
    refused: "cross_site_request",
  },
  {
    what: "a POST of a page without origin",
    host: "127.0.0.1",
    method: "POST",
    headers: { Origin: "null" },
    refused: "cross_site_request",
  },
  {
    what: "a POST of a page on another port",
    host: "localhost:5000",
    method: "POST",
    headers: { Origin: "http://localhost:3000", "Sec-Fetch-Site": "same-site" },
    refused: "cross_site_request",
  },
  {
    what: "a POST that only says that it is from elsewhere",
    host: "127.0.0.1",
    method: "POST",
    headers: { "Sec-Fetch-Site": "cross-site" },
    refused: "cross_site_request",
  },
  {
    what: "a DELETE of another page",
    host: "127.0.0.1",
    method: "DELETE",
    headers: { Origin: "https://evil.example" },
    refused: "cross_site_request",
  },
  { what: "a link on another page", host: "127.0.0.1", headers: { "Sec-Fetch-Site": "cross-site" } },
];

describe("an API without a key", () => {
  let api: TestApi;
  before(async () => {
    const env = {
      C3_RENDER_API_KEY: "",
      PUBLIC_URL: "https://render.example.com",
      CORS_ORIGINS: "https://studio.example.com",
    };
    api = await startTestApi({ env });
  });
  after(() => api.close());

  /** As a browser sends it: `fetch` lets nobody choose these headers. */
  async function send({ host, method = "GET", headers = {} }: Case): Promise<{ status: number; code: unknown }> {
    const { hostname, port } = new URL(api.url);
    return await new Promise((resolve, reject) => {
      const path = method === "DELETE" ? "/jobs/5c1f2f4e-0000-4000-8000-000000000000" : "/nowhere/cancel";
      const sent = request({ hostname, port, path, method, headers: { ...headers, Host: host } }, (response) => {
        text(response).then((body) => {
          const { code } = JSON.parse(body) as { code: unknown };
          resolve({ status: response.statusCode ?? 0, code });
        }, reject);
      });
      sent.on("error", reject);
      sent.end();
    });
  }

  for (const each of cases) {
    it(`${each.refused === undefined ? "answers" : "refuses"} ${each.what}`, async () => {
      const { status, code } = await send(each);
      const refusals = { misdirected_request: 421, cross_site_request: 403 };
      if (each.refused === undefined) assert.ok(![403, 421].includes(status), `${status} ${code}`);
      else assert.deepEqual({ status, code }, { status: refusals[each.refused], code: each.refused });
    });
  }
});
