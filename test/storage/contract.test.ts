import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { loadConfig } from "../../src/config/index.ts";
import { opensFile } from "../../src/storage/fileLinks.ts";
import { createFilesystemStore, type FilesystemStore } from "../../src/storage/filesystem.ts";
import { ObjectNotFound, type ObjectStore } from "../../src/storage/objectStore.ts";
import { createS3Store } from "../../src/storage/s3.ts";
import { startS3 } from "../support/versitygw.ts";

const MP3 = { contentType: "audio/mpeg" };
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

/** What every object store does. */
function keepsTheContract(storeOf: () => ObjectStore) {
  const put = (key: string, body: string) => storeOf().put(key, Readable.from([Buffer.from(body)]), MP3);

  it("is ready, however often it is asked", async () => {
    await storeOf().ensureReady();
    await storeOf().ensureReady();
  });

  it("gives back what was put, and replaces it", async () => {
    assert.equal(await put("results/a.mp3", "first"), 5);
    assert.equal(await put("results/a.mp3", "second"), 6);
    const { info, body } = await storeOf().get("results/a.mp3");
    assert.equal(await text(body), "second");
    assert.equal(info.bytes, 6);
    assert.equal(info.contentType, "audio/mpeg");
    assert.ok(Math.abs(info.lastModified.getTime() - Date.now()) < 600_000);
  });

  it("takes a stream of unknown length, larger than one part", async () => {
    const chunks = Array.from({ length: 13 }, () => randomBytes(1024 * 1024));
    assert.equal(await storeOf().put("results/large.mp3", Readable.from(chunks), MP3), 13 * 1024 * 1024);
    const { body } = await storeOf().get("results/large.mp3");
    assert.equal(sha256(await buffer(body)), sha256(Buffer.concat(chunks)));
  });

  it("gives a range of bytes, and the size of the whole", async () => {
    await put("results/range.mp3", "0123456789");
    const { info, body } = await storeOf().get("results/range.mp3", { range: { start: 2, end: 4 } });
    assert.equal(await text(body), "234");
    assert.equal(info.bytes, 10);
  });

  it("says what is not there", async () => {
    assert.equal(await storeOf().head("results/none.mp3"), undefined);
    await assert.rejects(storeOf().get("results/none.mp3"), ObjectNotFound);
  });

  it("lists by prefix", async () => {
    for (const key of ["inputs/1/a.mp3", "inputs/1/b.mp3", "inputs/12/c.mp3"]) await put(key, "x");
    const found: string[] = [];
    for await (const { key } of storeOf().list("inputs/1/")) found.push(key);
    assert.deepEqual(found.sort(), ["inputs/1/a.mp3", "inputs/1/b.mp3"]);
    for await (const { key } of storeOf().list("nothing/")) assert.fail(key);
  });

  it("removes, also what is not there", async () => {
    await put("results/gone.mp3", "x");
    await storeOf().remove(["results/gone.mp3", "results/never.mp3"]);
    assert.equal(await storeOf().head("results/gone.mp3"), undefined);
    await storeOf().remove([]);
  });

  it("stores nothing of a stream that breaks off", async () => {
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from("half");
        throw new Error("it broke off");
      })(),
    );
    await assert.rejects(storeOf().put("results/broken.mp3", broken, MP3), /it broke off/);
    assert.equal(await storeOf().head("results/broken.mp3"), undefined);
  });

  it("stores nothing after an abort", async () => {
    const controller = new AbortController();
    const endless = Readable.from(
      (async function* () {
        for (let chunk = 0; ; chunk += 1) {
          if (chunk === 8) controller.abort(new Error("given up"));
          yield randomBytes(1024 * 1024);
        }
      })(),
    );
    await assert.rejects(storeOf().put("results/aborted.mp3", endless, { ...MP3, signal: controller.signal }));
    assert.equal(await storeOf().head("results/aborted.mp3"), undefined);
  });
}

describe("the filesystem store", () => {
  let folder: string;
  let store: FilesystemStore;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-store-"));
    store = createFilesystemStore({ dir: folder, baseUrl: "http://api.test" });
  });
  after(() => rm(folder, { recursive: true, force: true }));
  keepsTheContract(() => store);

  for (const key of ["../a", "results/../../a", "/etc/passwd", ".link-secret", "results/.hidden", "", "a\u0000b"]) {
    it(`refuses the key "${key}"`, () => assert.rejects(store.head(key), RangeError));
  }

  it("leaves no unfinished files", async () => {
    assert.deepEqual(await readdir(join(folder, ".partial")), []);
  });

  it("makes links that open one file until they expire, and cannot be changed", async () => {
    const url = new URL(await store.link("results/a.mp3", { expiresInSeconds: 60, downloadName: "speech.mp3" }));
    assert.equal(url.origin + url.pathname, "http://api.test/files/results/a.mp3");
    const secret = await store.linkSecret();
    assert.equal(opensFile(secret, "results/a.mp3", url.searchParams), "yes");
    assert.equal(opensFile(secret, "results/b.mp3", url.searchParams), "no");
    for (const [name, value] of [
      ["expires", "99999999999"],
      ["download", "x"],
      ["signature", "x"],
      ["signature", ""],
    ]) {
      const changed = new URLSearchParams(url.searchParams);
      changed.set(name!, value!);
      assert.equal(opensFile(secret, "results/a.mp3", changed), "no", name);
    }
    const old = new URL(await store.link("results/a.mp3", { expiresInSeconds: -1 }));
    assert.equal(opensFile(secret, "results/a.mp3", old.searchParams), "expired");
  });

  it("never has half a secret, however many ask for it first", async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 100; round += 1) {
      const dir = join(folder, `.asked-${round}`);
      const path = join(dir, ".link-secret");
      const asked = Promise.all(
        Array.from({ length: 4 }, () => createFilesystemStore({ dir, baseUrl: "" }).linkSecret()),
      );
      let isAnswered = false;
      const answered = asked.finally(() => {
        isAnswered = true;
      });
      while (!isAnswered) {
        if (existsSync(path)) seen.add(readFileSync(path, "utf8").length === 43 ? "whole" : "half");
        await setImmediate();
      }
      assert.equal(new Set(await answered).size, 1);
    }
    assert.deepEqual([...seen], ["whole"]);
  });

  for (const [what, content] of [
    ["an empty", ""],
    ["a blank", " \n"],
    ["a short", "secret"],
  ] as const) {
    it(`does not sign with ${what} secret`, async () => {
      const dir = await mkdtemp(join(folder, ".secret-"));
      await writeFile(join(dir, ".link-secret"), content);
      const forgeable = createFilesystemStore({ dir, baseUrl: "" });
      await assert.rejects(forgeable.linkSecret(), /could be forged: remove it/);
      await assert.rejects(forgeable.ensureReady(), /could be forged: remove it/);
      assert.throws(
        () => loadConfig({ FILES_SECRET: content || "x" }),
        /FILES_SECRET: must have 16 characters or more/,
      );
    });
  }

  it("is readable by its owner only", async () => {
    const dir = join(folder, ".new", "store");
    const made = createFilesystemStore({ dir, baseUrl: "" });
    await made.ensureReady();
    await made.put("results/a.txt", Readable.from(["a"]), { contentType: "text/plain" });
    for (const path of [dir, join(dir, "results"), join(dir, ".partial"), join(dir, ".link-secret")]) {
      assert.equal((await stat(path)).mode & 0o077, 0, path);
    }
  });

  it("keeps its secret between starts", async () => {
    const again = createFilesystemStore({ dir: folder, baseUrl: "" });
    assert.equal(await again.linkSecret(), await store.linkSecret());
  });
});

describe("the S3 store", function () {
  this.timeout(900_000);
  let server: Awaited<ReturnType<typeof startS3>>;
  let store: ObjectStore;
  before(async function () {
    server = await startS3();
    if (server === undefined) return this.skip();
    store = createS3Store(server.s3);
    await store.ensureReady();
  });
  after(() => server?.stop());
  keepsTheContract(() => store);

  it("makes links that anybody can open, with a name to save under, and that cannot be changed", async () => {
    await store.put("results/linked.mp3", Readable.from([Buffer.from("sound")]), MP3);
    const url = await store.link("results/linked.mp3", { expiresInSeconds: 60, downloadName: "speech.mp3" });
    const answer = await fetch(url);
    assert.equal(await answer.text(), "sound");
    assert.match(answer.headers.get("content-disposition") ?? "", /filename="speech.mp3"/);
    assert.equal((await fetch(url.replace("linked", "a"))).status, 403);
    assert.equal((await fetch(url.split("?")[0]!)).status, 403);
  });

  it("makes links that show a file, and never run what is in one", async () => {
    const linkOf = (key: string) => store.link(key, { expiresInSeconds: 60, downloadName: "größe.html", inline: true });
    await store.put("results/shown.html", Readable.from([Buffer.from("<script>")]), { contentType: "text/html" });
    const shown = await fetch(await linkOf("results/shown.html"));
    assert.equal(shown.headers.get("content-type"), "text/plain; charset=utf-8");
    assert.match(shown.headers.get("content-disposition") ?? "", /^inline; .*filename\*=UTF-8''gr%C3%B6%C3%9Fe\.html$/);
    await store.put("results/shown.mp3", Readable.from([Buffer.from("sound")]), MP3);
    assert.equal((await fetch(await linkOf("results/shown.mp3"))).headers.get("content-type"), "audio/mpeg");
  });

  it("signs links for the public address when there is one", async () => {
    const public_ = createS3Store({ ...server!.s3, publicUrl: "https://files.example" });
    const url = new URL(await public_.link("results/a.mp3", { expiresInSeconds: 60 }));
    assert.equal(url.origin, "https://files.example");
    assert.equal(url.pathname, "/test-bucket/results/a.mp3");
  });
});
