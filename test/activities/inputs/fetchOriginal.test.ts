import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { ApplicationFailure } from "@temporalio/activity";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { fetchOriginal } from "../../../src/activities/inputs/fetchOriginal.ts";
import { loadConfig } from "../../../src/config/index.ts";
import { createSafeFetch, type SafeFetch } from "../../../src/net/safeFetch.ts";
import { makeFolder } from "../../media/support.ts";

const FILE = "what is wanted";
const whole =
  (status: number, headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, headers).end(FILE);

interface Case {
  answer: (response: ServerResponse) => unknown;
  /** What the failure says; the file is there when it is missing. */
  says?: RegExp;
  /** It may be different the next time. */
  again?: boolean;
  afterMs?: number;
}

const cases: Record<string, Case> = {
  "200": { answer: whole(200) },
  "203, of a proxy": { answer: whole(203) },
  "206 with all of it": { answer: whole(206, { "content-range": `bytes 0-${FILE.length - 1}/${FILE.length}` }) },
  "206 with a part of it": {
    answer: whole(206, { "content-range": `bytes 0-${FILE.length - 1}/5000` }),
    says: /^audio_url: the server sent a part of the file only$/,
    again: true,
  },
  "206 that does not say of what": { answer: whole(206), says: /a part of the file only$/, again: true },
  "204": { answer: (response) => response.writeHead(204).end(), says: /the server answered 204, without a file$/ },
  "a redirect to nowhere": { answer: whole(302), says: /^audio_url: the server answered 302$/ },
  "400": { answer: whole(400), says: /^audio_url: the server answered 400$/ },
  "401": { answer: whole(401), says: /answered 401$/ },
  "403": { answer: whole(403), says: /answered 403$/ },
  "404": { answer: whole(404), says: /answered 404$/ },
  "410": { answer: whole(410), says: /answered 410$/ },
  "408": { answer: whole(408), says: /answered 408$/, again: true },
  "425": { answer: whole(425), says: /answered 425$/, again: true },
  "429": { answer: whole(429), says: /answered 429$/, again: true },
  "429 that says when": { answer: whole(429, { "retry-after": "7" }), says: /429/, again: true, afterMs: 7000 },
  "503 that says next week": {
    answer: whole(503, { "retry-after": "600000" }),
    says: /503/,
    again: true,
    afterMs: 120_000,
  },
  "500": { answer: whole(500), says: /answered 500$/, again: true },
  "507": { answer: whole(507), says: /answered 507$/, again: true },
  "a connection that breaks": {
    answer: (response) => response.socket?.destroy(),
    says: /^audio_url: could not be downloaded \(.+\)$/,
    again: true,
  },
  "a file that breaks off": {
    answer: (response) => {
      response.writeHead(200, { "content-length": "500" }).write(FILE);
      setTimeout(() => response.destroy(), 20);
    },
    says: /^audio_url: could not be downloaded \(.+\)$/,
    again: true,
  },
  "too much": {
    answer: (response) => response.end("x".repeat(2000)),
    says: /^audio_url: it is larger than 1000 bytes$/,
  },
};

describe("what a server answers when an input is fetched", () => {
  let folder: string;
  let remove: () => Promise<void>;
  let safeFetch: SafeFetch;
  let url: string;
  const server = createServer((request, response) =>
    cases[decodeURIComponent((request.url ?? "").slice(1))]?.answer(response),
  );

  before(async () => {
    ({ folder, remove } = await makeFolder());
    await once(server.listen(0, "127.0.0.1"), "listening");
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    safeFetch = createSafeFetch({ trustedOrigins: { inputs: [url], webhooks: [url] } });
  });
  after(async () => {
    await safeFetch.close();
    server.closeAllConnections();
    await once(server.close(), "close");
    await remove();
  });

  for (const [name, { answer: _, says, again = false, afterMs }] of Object.entries(cases)) {
    it(`${name}: ${says === undefined ? "taken" : again ? "tried again" : "final"}`, async () => {
      const target = join(folder, "input");
      const source = { url: `${url}/${encodeURIComponent(name)}` };
      const wanted = { jobId: "job", tenant: "t", field: "audio_url", source, maxBytes: 1000, target };
      const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });
      const { signal } = new AbortController();
      const fetching = environment.run(() =>
        fetchOriginal({ config: loadConfig({}), safeFetch }, { ...wanted, signal }),
      );
      if (says === undefined) {
        await fetching;
        assert.equal(await readFile(target, "utf8"), FILE);
        return;
      }
      const failure = await fetching.then(
        () => assert.fail("it was taken"),
        (error: unknown) => error,
      );
      assert.ok(failure instanceof ApplicationFailure, String(failure));
      assert.match(failure.message, says);
      assert.equal(failure.nonRetryable !== true, again);
      assert.equal(failure.nextRetryDelay, afterMs);
    });
  }
});
