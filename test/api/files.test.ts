import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { readdir, readlink } from "node:fs/promises";
import { Readable } from "node:stream";
import { keys } from "../../src/storage/keys.ts";
import { eventually } from "../support/eventually.ts";
import { startTestApi, type TestApi } from "./support.ts";

describe("/files", () => {
  let api: TestApi;
  let link: string;
  const key = keys.result(randomUUID(), "mp3");
  const content = randomBytes(1000);
  before(async () => {
    api = await startTestApi();
    await api.store.put(key, Readable.from([content]), { contentType: "audio/mpeg" });
    link = await api.store.link(key, { expiresInSeconds: 60, downloadName: "speech.mp3" });
  });
  after(() => api.close());

  const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
    fetch(`${api.url}${path}`, { headers, method });
  const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

  it("serves a linked file to whoever has the link, also under /api/v0", async () => {
    for (const path of [link, `/api/v0${link}`]) {
      const response = await get(path);
      assert.equal(response.status, 200);
      assert.deepEqual(await bytesOf(response), content);
      assert.equal(response.headers.get("Content-Type"), "audio/mpeg");
      assert.equal(response.headers.get("Content-Length"), "1000");
      assert.equal(response.headers.get("Content-Disposition"), 'attachment; filename="speech.mp3"');
      assert.equal(response.headers.get("Cross-Origin-Resource-Policy"), "cross-origin");
      assert.equal(response.headers.get("X-Content-Type-Options"), "nosniff");
    }
  });

  it("answers HEAD with the headers alone, also when a part is asked for", async () => {
    const plain = await get(link);
    await plain.arrayBuffer();
    const response = await get(link, { Range: "bytes=0-1" }, "HEAD");
    assert.equal(response.status, 200);
    for (const name of ["Content-Type", "Content-Disposition", "ETag", "Last-Modified", "Accept-Ranges"]) {
      assert.ok(plain.headers.has(name), name);
      assert.equal(response.headers.get(name), plain.headers.get(name), name);
    }
    assert.equal(response.headers.get("Content-Length"), "1000");
    assert.equal((await bytesOf(response)).length, 0);
  });

  for (const [range, start, end] of [
    ["bytes=0-99", 0, 99],
    ["bytes=900-", 900, 999],
    ["bytes=-100", 900, 999],
    ["bytes=-5000", 0, 999],
    ["bytes=999-5000", 999, 999],
    ["bytes=-1", 999, 999],
    ["BYTES = 0 - 99", 0, 99],
  ] as const) {
    it(`serves ${range}`, async () => {
      const response = await get(link, { Range: range });
      assert.equal(response.status, 206);
      assert.equal(response.headers.get("Content-Range"), `bytes ${start}-${end}/1000`);
      assert.equal(response.headers.get("Content-Length"), String(end - start + 1));
      assert.deepEqual(await bytesOf(response), content.subarray(start, end + 1));
    });
  }

  for (const range of ["bytes=1000-", "bytes=-0", "bytes=99999999999999999999-"]) {
    it(`answers 416 to ${range}`, async () => {
      const response = await get(link, { Range: range });
      assert.equal(response.status, 416);
      assert.equal(response.headers.get("Content-Range"), "bytes */1000");
    });
  }

  for (const range of ["bytes=0-1,5-6", "bytes=-5,0-0", "bytes=9-1", "bytes=-", "bytes=a-b", "lines=1-2"]) {
    it(`serves all of it for ${range}`, async () => {
      const response = await get(link, { Range: range });
      assert.equal(response.status, 200);
      assert.equal((await bytesOf(response)).length, 1000);
    });
  }

  it("serves a range only of the file that the caller knows", async () => {
    const lastModified = (await get(link, {}, "HEAD")).headers.get("Last-Modified") ?? "";
    assert.equal((await get(link, { Range: "bytes=0-9", "If-Range": lastModified })).status, 206);
    assert.equal((await get(link, { Range: "bytes=0-9", "If-Range": '"other"' })).status, 200);
  });

  it("says which file it is, and sends it only to whoever has another", async () => {
    const { headers } = await get(link, {}, "HEAD");
    const etag = headers.get("ETag") ?? "";
    const modified = headers.get("Last-Modified") ?? "";
    assert.match(etag, /^"[\w-]+"$/);
    const earlier = new Date(Date.parse(modified) - 1000).toUTCString();
    const cases: [headers: Record<string, string>, status: number][] = [
      [{ "If-None-Match": etag }, 304],
      [{ "If-None-Match": `W/${etag}` }, 304],
      [{ "If-None-Match": `"other" , ${etag}` }, 304],
      [{ "If-None-Match": "*" }, 304],
      [{ "If-None-Match": etag, Range: "bytes=0-9" }, 304],
      [{ "If-None-Match": '"other"' }, 200],
      [{ "If-None-Match": '"other"', "If-Modified-Since": modified }, 200],
      [{ "If-None-Match": "" }, 200],
      [{ "If-Modified-Since": modified }, 304],
      [{ "If-Modified-Since": earlier }, 200],
      [{ "If-Modified-Since": "yesterday" }, 200],
      [{ Range: "bytes=0-9", "If-Range": etag }, 206],
      [{ Range: "bytes=0-9", "If-Range": `W/${etag}` }, 200],
      [{ Range: "bytes=0-9", "If-Range": modified }, 206],
      [{ Range: "bytes=0-9", "If-Range": earlier }, 200],
      [{ Range: "bytes=0-9", "If-Range": '"other"' }, 200],
      [{ Range: "bytes=5000-", "If-Range": '"other"' }, 200],
      [{ Range: "bytes=5000-", "If-Range": etag }, 416],
    ];
    for (const [sent, status] of cases) {
      for (const method of status === 304 ? ["GET", "HEAD"] : ["GET"]) {
        const response = await get(link, sent, method);
        assert.equal(response.status, status, JSON.stringify(sent));
        if (status !== 416) assert.equal(response.headers.get("ETag"), etag);
        if (status === 304) assert.equal((await bytesOf(response)).length, 0);
        else await response.arrayBuffer();
      }
    }
    await api.store.put(key, Readable.from([content.subarray(1)]), { contentType: "audio/mpeg" });
    assert.notEqual((await get(link, {}, "HEAD")).headers.get("ETag"), etag);
    await api.store.put(key, Readable.from([content]), { contentType: "audio/mpeg" });
  });

  for (const [query, kind] of [
    ["", "attachment"],
    ["&inline=0", "attachment"],
    ["&inline=false", "attachment"],
    ["&inline=1", "inline"],
    ["&inline=True", "inline"],
    ["&inline", "inline"],
  ] as const) {
    it(`is saved, or shown, as the caller asks: "${query}"`, async () => {
      const response = await get(`${link}${query}`);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("Content-Disposition"), `${kind}; filename="speech.mp3"`);
      const unnamed = await api.store.link(key, { expiresInSeconds: 60 });
      const name = key.slice(key.lastIndexOf("/") + 1);
      const { headers } = await get(`${unnamed}${query}`, {}, "HEAD");
      assert.equal(headers.get("Content-Disposition"), `${kind}; filename="${name}"`);
    });
  }

  it("is not shown by a link that is not valid", async () => {
    const changedLink = link.replace(/signature=(.)/, (_, first) => `signature=${first === "_" ? "-" : "_"}`);
    assert.equal((await get(`${changedLink}&inline=1`)).status, 403);
    const expired = await api.store.link(key, { expiresInSeconds: -2, inline: true });
    assert.equal((await get(expired)).status, 403);
    assert.equal((await get(await api.store.link(key, { expiresInSeconds: 60, inline: true }))).status, 200);
  });

  for (const [name, expected] of [
    ["speech.mp3", 'filename="speech.mp3"'],
    ["my speech (1).mp3", 'filename="my speech (1).mp3"'],
    ["größe.mp3", "filename=\"große.mp3\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.mp3"],
    ["日本.mp3", "filename=\"__.mp3\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.mp3"],
    ['a"b\\c.mp3', "filename=\"a_b_c.mp3\"; filename*=UTF-8''a%22b%5Cc.mp3"],
    ["100%.mp3", "filename=\"100%.mp3\"; filename*=UTF-8''100%25.mp3"],
    ["a'b(c)*.mp3", 'filename="a\'b(c)*.mp3"'],
    ["é'.mp3", "filename=\"e'.mp3\"; filename*=UTF-8''%C3%A9%27.mp3"],
    ["a\r\nSet-Cookie: b.mp3", 'filename="aSet-Cookie: b.mp3"'],
    ["\ud800.mp3", 'filename=".mp3"'],
  ] as const) {
    it(`is saved under its name: ${JSON.stringify(name)}`, async () => {
      const named = await api.store.link(key, { expiresInSeconds: 60, downloadName: name });
      const response = await get(named, {}, "HEAD");
      // A surrogate alone cannot be written in a URL, so that the link is not the one that was signed.
      if (name.startsWith("\ud800")) return assert.equal(response.status, 403);
      assert.equal(response.headers.get("Content-Disposition"), `attachment; ${expected.replace("große", "gro_e")}`);
    });
  }

  it("runs nothing of a page that is shown", async () => {
    const page = keys.resultFile(randomUUID(), "transcript.html");
    await api.store.put(page, Readable.from([Buffer.from("<script>alert(1)</script>")]), { contentType: "text/html" });
    const { headers } = await get(await api.store.link(page, { expiresInSeconds: 60, inline: true }));
    assert.match(headers.get("Content-Type") ?? "", /^text\/html/);
    const policy = headers.get("Content-Security-Policy") ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /; sandbox$/);
    assert.doesNotMatch(policy, /script-src|allow-scripts/);
    assert.equal(headers.get("X-Content-Type-Options"), "nosniff");
  });

  const changed: [title: string, change: (url: URL) => void, code: string][] = [
    ["no signature", (url) => url.searchParams.delete("signature"), "invalid_link"],
    ["another signature", (url) => url.searchParams.set("signature", "a".repeat(43)), "invalid_link"],
    ["a later expiry", (url) => url.searchParams.set("expires", "99999999999"), "invalid_link"],
    ["another name", (url) => url.searchParams.set("download", "x.exe"), "invalid_link"],
    [
      "another file",
      (url) => {
        url.pathname = url.pathname.replace(".mp3", ".mp4");
      },
      "invalid_link",
    ],
    [
      "a way out",
      (url) => {
        url.pathname = "/files/..%2f..%2fetc%2fpasswd";
      },
      "invalid_link",
    ],
    [
      "a hidden file",
      (url) => {
        url.pathname = "/files/.link-secret";
      },
      "invalid_link",
    ],
    [
      "a zero byte",
      (url) => {
        url.pathname = "/files/a%00b";
      },
      "invalid_link",
    ],
    [
      "half a character",
      (url) => {
        url.pathname = "/files/%E0%A4%A";
      },
      "invalid_link",
    ],
  ];
  for (const [title, change, code] of changed) {
    it(`answers 403 to a link with ${title}`, async () => {
      const url = new URL(link, api.url);
      change(url);
      const response = await get(`${url.pathname}${url.search}`);
      assert.equal(response.status, 403);
      assert.equal(((await response.json()) as { code: string }).code, code);
    });
  }

  it("answers 403 to a link that has expired, and 404 to one whose file is gone", async () => {
    const expired = await get(await api.store.link(key, { expiresInSeconds: -2 }));
    assert.equal(expired.status, 403);
    assert.equal(((await expired.json()) as { code: string }).code, "link_expired");
    const gone = await get(await api.store.link(keys.result(randomUUID(), "mp3"), { expiresInSeconds: 60 }));
    assert.equal(gone.status, 404);
  });

  it("closes the file of a caller who leaves", async function () {
    if (process.platform !== "linux") this.skip();
    const large = keys.result(randomUUID(), "mp4");
    const size = 20_000_000;
    await api.store.put(large, Readable.from([Buffer.alloc(size)]), { contentType: "video/mp4" });
    const leave = new AbortController();
    const url = `${api.url}${await api.store.link(large, { expiresInSeconds: 60 })}`;
    const response = await fetch(url, { signal: leave.signal });
    await response.body?.getReader().read();
    assert.equal((await openFiles()).filter((path) => path.endsWith(large)).length, 1);
    leave.abort();
    await eventually("the file is closed", async () => !(await openFiles()).some((path) => path.endsWith(large)));
  });
});

async function openFiles(): Promise<string[]> {
  const descriptors = await readdir("/proc/self/fd");
  return Promise.all(descriptors.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => "")));
}
