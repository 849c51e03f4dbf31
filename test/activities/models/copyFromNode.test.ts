import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { copyFromNode } from "../../../src/activities/models/copyFromNode.ts";
import { loadConfig } from "../../../src/config/index.ts";
import type { Lease } from "../../../src/gpus/types.ts";
import { createMedia, wavOf } from "../../../src/simulator/sound/media.ts";
import { createObjectStore } from "../../../src/storage/index.ts";
import type { ObjectStore } from "../../../src/storage/objectStore.ts";
import { withoutEnd } from "../../support/tamperer.ts";

describe("a result on its way from the node", () => {
  let folder: string;
  let store: ObjectStore;
  let mp3: Buffer;
  let url: string;
  let requests: number;
  let answer: (response: ServerResponse) => void;
  const server = createServer((_, response) => {
    requests += 1;
    answer(response);
  });
  const json = Buffer.from(JSON.stringify({ segments: Array(100).fill({ text: "said" }) }));
  const config = loadConfig({ GPU_PROVIDER: "simulator", C3_API_KEY: "key" });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-test-"));
    store = createObjectStore(
      { kind: "filesystem", dir: folder, shared: false, linkSecret: undefined },
      "http://127.0.0.1",
    );
    await store.ensureReady();
    mp3 = await createMedia().encodeMp3(new Int16Array(16_000), "silence");
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  beforeEach(() => {
    requests = 0;
  });
  after(async () => {
    server.close();
    await rm(folder, { recursive: true, force: true });
  });

  const copy = (key: string, mimeType: string, into = store) =>
    new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") }).run(() => {
      const lease = { nodeUrl: url, node: "node", leaseId: "lease" } as Lease;
      return copyFromNode(
        { config, store: into },
        lease,
        { key, url: `${url}/file`, mimeType },
        new AbortController().signal,
      );
    }) as Promise<{ bytes: number }>;
  const failure = async (mimeType = "audio/mpeg") => {
    const error = await copy("results/a", mimeType).catch((caught: unknown) => caught);
    assert.ok(error instanceof Error, String(error));
    const { type, nonRetryable } = error as Error & { type?: string; nonRetryable?: boolean };
    return { type, nonRetryable, requests };
  };
  const page = "<!DOCTYPE html><title>Bad gateway</title>";

  for (const [encoding, compress] of [
    ["br", brotliCompressSync],
    ["gzip", gzipSync],
  ] as const) {
    it(`is whole although it was compressed against our wish (${encoding})`, async () => {
      const body = compress(json);
      answer = (response) =>
        response
          .writeHead(200, {
            "content-encoding": encoding,
            "content-length": body.length,
            "content-type": "application/json",
          })
          .end(body);
      const key = `results/${encoding}.json`;
      assert.equal((await copy(key, "application/json")).bytes, json.length);
      assert.deepEqual(Buffer.concat(await (await store.get(key)).body.toArray()), json);
    });
  }

  const cases: [what: string, answer: (response: ServerResponse) => void, outcome: object][] = [
    ["404: it is not there", (response) => response.writeHead(404).end(), { type: "ResultLost", requests: 1 }],
    [
      "403: the app does not serve it",
      (response) => response.writeHead(403).end(),
      { type: "ResultLost", requests: 1 },
    ],
    ["410", (response) => response.writeHead(410).end(), { type: "ResultLost", requests: 1 }],
    ["401: our key is wrong", (response) => response.writeHead(401).end(), { type: "NodeBroken", requests: 1 }],
    [
      "a sound of another kind, the same each time",
      (response) => response.writeHead(200).end(wavOf(new Int16Array(100))),
      { type: "ModelFailed", requests: 1 },
    ],
    [
      "an error page as a success, again and again",
      (response) => response.writeHead(200, { "content-type": "text/html" }).end(page),
      { type: "ResultLost", requests: 3 },
    ],
    [
      "fewer bytes than were announced, again and again",
      (response) => {
        response.writeHead(200, { "content-length": mp3.length + 1 });
        response.write(mp3, () => response.destroy());
      },
      { type: "ResultLost", requests: 3 },
    ],
    [
      "a sound that is announced to be longer than any",
      (response) => {
        response.writeHead(200, { "content-length": 3 * 1024 ** 3 });
        response.write(mp3);
      },
      { type: "NodeBroken", requests: 1 },
    ],
    ["nothing at all", (response) => response.writeHead(200).end(), { type: "ResultLost", requests: 3 }],
  ];
  for (const [what, respond, outcome] of cases) {
    it(`is given up for good, without holding the GPU: ${what}`, async () => {
      answer = respond;
      assert.deepEqual(await failure(), { nonRetryable: true, ...outcome });
    });
  }

  it("is no text without an end", async () => {
    answer = (response) => void withoutEnd(response, '{"segments": []}');
    assert.deepEqual(await failure("application/json"), { type: "NodeBroken", nonRetryable: true, requests: 1 });
  });

  for (const status of [408, 425, 429, 500, 502, 503, 504]) {
    it(`is asked for again after ${status}`, async () => {
      answer = (response) => (requests === 1 ? response.writeHead(status).end() : response.end(mp3));
      assert.equal((await copy("results/again.mp3", "audio/mpeg")).bytes, mp3.length);
      assert.equal(requests, 2);
    });
  }

  it("is asked for again after a connection that was reset", async () => {
    answer = (response) => (requests === 1 ? response.socket?.resetAndDestroy() : response.end(mp3));
    assert.equal((await copy("results/reset.mp3", "audio/mpeg")).bytes, mp3.length);
  });

  it("is not at fault when the store is away: that is thrown as it is, to be tried for longer", async () => {
    answer = (response) => response.end(mp3);
    const away: ObjectStore = {
      ...store,
      async put(_key, body) {
        body.destroy();
        throw new Error("the bucket is away");
      },
    };
    await assert.rejects(copy("results/away.mp3", "audio/mpeg", away), /the bucket is away/);
    assert.equal(requests, 1);
  });

  it("is a video only when it is whole", async () => {
    const half = Buffer.concat([
      Buffer.from([0, 0, 0, 24]),
      Buffer.from("ftypisom"),
      Buffer.alloc(12),
      Buffer.from([0, 0, 9, 0]),
      Buffer.from("mdat"),
    ]);
    answer = (response) => response.writeHead(200, { "content-length": half.length }).end(half);
    assert.deepEqual(await failure("video/mp4"), { type: "ResultLost", nonRetryable: true, requests: 3 });
  });
});
