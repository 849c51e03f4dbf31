import assert from "node:assert/strict";
import { startTestApi, type TestApi } from "./support.ts";

describe("the dashboard", () => {
  let api: TestApi;
  before(async () => {
    api = await startTestApi({ env: { TEMPORAL_UI_ORIGIN: "https://temporal.example", TEMPORAL_NAMESPACE: `a"b` } });
  });
  after(() => api.close());

  /** What `text` names in quotes behind `before`, as addresses. */
  const named = (text: string, before: RegExp, base: string) =>
    [...text.matchAll(new RegExp(`(?:${before.source})"([^"]+)"`, "g"))].map(
      ([, name = ""]) => new URL(name, base).href,
    );

  for (const base of ["", "/api/v0"]) {
    it(`is a page of local files, open to everybody, under "${base}/"`, async () => {
      const page = await fetch(`${api.url}${base}/dashboard`);
      assert.equal(page.status, 200);
      assert.match(page.headers.get("Content-Type") ?? "", /^text\/html/);
      const html = await page.text();
      assert.doesNotMatch(html, /<style|style=|<script[^>]*>[^<]| on\w+=/);
      const waiting = named(html, /(?:src|href)=/, page.url).filter((url) => !/^data:|\/docs$/.test(url));
      assert.deepEqual(
        waiting.map((url) => url.slice(`${api.url}${base}/dashboard/`.length)),
        ["dashboard.css", "main.js"],
      );
      const seen = new Set<string>();
      for (const url of waiting) {
        if (seen.has(url)) continue;
        seen.add(url);
        const file = await fetch(url);
        assert.equal(file.status, 200, url);
        const type = url.endsWith(".css") ? /^text\/css/ : /^(text|application)\/javascript/;
        assert.match(file.headers.get("Content-Type") ?? "", type, url);
        waiting.push(...named(await file.text(), / from /, url));
      }
      assert.equal(seen.size, 9);
    });
  }

  it("lets the browser load, call and show nothing but the service's own, and make no markup of a text", async () => {
    const { headers } = await fetch(`${api.url}/dashboard`);
    const policy = headers.get("Content-Security-Policy") ?? "";
    for (const directive of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]) {
      assert.ok(policy.split("; ").includes(directive), directive);
    }
    assert.match(policy, /frame-ancestors 'none'.*require-trusted-types-for 'script'; trusted-types 'none'$/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    assert.equal(headers.get("Referrer-Policy"), "no-referrer");
  });

  it("is found with a slash at its end, too, as the documentation is", async () => {
    for (const page of ["dashboard", "docs"]) {
      const { status, headers } = await fetch(`${api.url}/api/v0/${page}/`, { redirect: "manual" });
      assert.deepEqual([status, headers.get("Location")], [302, `../${page}`]);
    }
  });

  for (const file of ["page.ts", "index.html", "..%2froutes%2fdashboard.ts", "constructor"]) {
    it(`has no file ${file}`, async () => {
      const response = await fetch(`${api.url}/dashboard/${file}`);
      assert.equal(response.status, 404);
      assert.equal(((await response.json()) as { code: string }).code, "file_not_found");
    });
  }

  it("knows where workflows are shown, if the service knows it", async () => {
    const workflowsIn = async (url: string) =>
      /data-workflows="([^"]*)"/.exec(await (await fetch(`${url}/dashboard`)).text())?.[1];
    assert.equal(await workflowsIn(api.url), "https://temporal.example/namespaces/a%22b/workflows/");
    const other = await startTestApi();
    assert.equal(await workflowsIn(other.url), "");
    await other.close();
  });
});
