import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import { Webhook } from "standardwebhooks";
import { createAttemptWebhook, type Postponement } from "../../../src/activities/webhooks/attemptWebhook.ts";
import { loadConfig, type WebhookConfig } from "../../../src/config/index.ts";
import type { WebhookAttempt } from "../../../src/jobs/webhook.ts";
import { createSafeFetch, type SafeFetch } from "../../../src/net/safeFetch.ts";
import { createMetrics } from "../../../src/process/metrics.ts";
import { createObjectStore } from "../../../src/storage/index.ts";
import type { ObjectStore } from "../../../src/storage/objectStore.ts";
import { readLedger } from "../../../src/webhooks/deliveryLog.ts";
import { eventually } from "../../support/eventually.ts";

type Attempted = WebhookAttempt | Postponement;
type Answer = (response: ServerResponse) => void;

const NEW_SECRET = `whsec_${Buffer.from("the new secret").toString("base64")}`;
const OLD_SECRET = "the old secret";

interface Receiver {
  url: string;
  origin: string;
  received: { method?: string | undefined; url?: string | undefined; headers: IncomingHttpHeaders; body: string }[];
  close(): Promise<void>;
}

/** A receiver that answers as it is told, or not at all. */
async function startReceiver(answer: Answer = (response) => response.end()): Promise<Receiver> {
  const received: Receiver["received"] = [];
  const server: Server = createServer(async (request, response) => {
    const { method, url, headers } = request;
    received.push({ method, url, headers, body: await text(request) });
    answer(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    url: `${origin}/hook?token=of-the-receiver`,
    received,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

describe("an attempt to deliver a webhook", () => {
  const receivers: Receiver[] = [];
  const fetchers: SafeFetch[] = [];
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), "c3-render-webhook-"));
  });
  afterEach(async () => {
    await Promise.all(fetchers.splice(0).map((fetcher) => fetcher.close()));
    await Promise.all(receivers.splice(0).map((receiver) => receiver.close()));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  async function receiver(answer?: Answer): Promise<Receiver> {
    const started = await startReceiver(answer);
    receivers.push(started);
    return started;
  }

  /** The worker's activity, with the secrets and limits of the test. */
  function prepare(
    webhook: Partial<WebhookConfig> = {},
    keys: unknown[] = [],
    storeThrough = (store: ObjectStore): ObjectStore => store,
  ) {
    const loaded = loadConfig({
      STORAGE_DIR: dir,
      WEBHOOK_SECRET: `${NEW_SECRET}, ${OLD_SECRET}`,
      C3_RENDER_KEYS: JSON.stringify(keys),
    });
    const config = { ...loaded, webhook: { ...loaded.webhook, ...webhook } };
    const safeFetch = createSafeFetch({
      trustedOrigins: { inputs: [], webhooks: receivers.map(({ origin }) => origin) },
      // Where every name leads that is not trusted.
      resolver: { resolve: async () => [{ address: "127.0.0.1", family: 4 }] },
    });
    fetchers.push(safeFetch);
    const store = storeThrough(createObjectStore(config.storage, ""));
    const { attemptWebhook } = createAttemptWebhook({ config, store, safeFetch, metrics: createMetrics() });
    const environment = () => new MockActivityEnvironment({}, { logger: new DefaultLogger("ERROR") });
    const request = (url: string, more: { tenant?: string; postponed?: number; attempt?: number; jobId?: string }) => ({
      jobId: randomUUID(),
      tenant: "default",
      ending: { state: "failed" as const, error: "Job was cancelled" },
      postponed: 0,
      attempt: 1,
      url,
      ...more,
    });
    return {
      store,
      attempt: (url: string, more: Parameters<typeof request>[1] = {}) => {
        const made = request(url, more);
        const input = { ...made, isFirst: made.attempt === 1 };
        return environment().run<Parameters<typeof attemptWebhook>, Attempted, typeof attemptWebhook>(
          attemptWebhook,
          input,
        );
      },
    };
  }

  function tried(outcome: Attempted): WebhookAttempt {
    assert.ok("at" in outcome, JSON.stringify(outcome));
    return outcome;
  }

  it("is an attempt that was made, also when the object store hangs", async () => {
    const { url, received } = await receiver();
    const hanging = () => new Promise<never>(() => {});
    const { attempt } = prepare({}, [], (store) => ({ ...store, put: hanging, get: hanging }));
    assert.ok(tried(await attempt(url, { attempt: 2 })).delivered);
    assert.equal(received.length, 1);
  });

  it("is signed with the new secret and the old one", async () => {
    const { url, received } = await receiver();
    const jobId = randomUUID();
    assert.ok(tried(await prepare().attempt(url, { jobId })).delivered);
    const [{ headers, body } = assert.fail("nothing arrived")] = received;
    assert.equal(headers["webhook-id"], `msg_${jobId}`);
    assert.deepEqual(JSON.parse(body), { id: jobId, status: "failed", error: "Job was cancelled" });
    const plain = headers as Record<string, string>;
    assert.ok(new Webhook(NEW_SECRET).verify(body, plain));
    assert.ok(new Webhook(OLD_SECRET, { format: "raw" }).verify(body, plain));
    assert.throws(() => new Webhook("another secret", { format: "raw" }).verify(body, plain));
  });

  it("is signed with a tenant's own secret where it has one", async () => {
    const { url, received } = await receiver();
    const { attempt } = prepare({}, [{ name: "acme", key: "the-api-key-of-acme", webhook_secret: "a secret of acme" }]);
    await attempt(url, { tenant: "acme" });
    await attempt(url, { tenant: "others" });
    const [ofAcme, ofOthers] = received;
    assert.ok(ofAcme && ofOthers);
    const verifier = new Webhook("a secret of acme", { format: "raw" });
    assert.ok(verifier.verify(ofAcme.body, ofAcme.headers as Record<string, string>));
    assert.throws(() => verifier.verify(ofOthers.body, ofOthers.headers as Record<string, string>));
  });

  it("says how long the receiver asks to wait, up to a limit", async () => {
    const answers = ["7", new Date(Date.now() + 86_400_000).toUTCString(), "soon"];
    const { url } = await receiver((response) => {
      response.writeHead(429, { "Retry-After": answers.shift() }).end();
    });
    const { attempt } = prepare({ maxRetryAfterMs: 60_000 });
    const waits = [];
    for (let made = 1; made <= 3; made += 1) waits.push(tried(await attempt(url)).retryAfterMs);
    assert.deepEqual(waits, [7000, 60_000, undefined]);
  });

  it("is the last one when the receiver is gone", async () => {
    const { url } = await receiver((response) => response.writeHead(410).end());
    const { delivered, statusCode, permanent } = tried(await prepare().attempt(url));
    assert.deepEqual({ delivered, statusCode, permanent }, { delivered: false, statusCode: 410, permanent: true });
  });

  it("follows no redirect", async () => {
    const target = await receiver();
    const { url } = await receiver((response) => response.writeHead(307, { Location: target.url }).end());
    const { delivered, statusCode } = tried(await prepare().attempt(url));
    assert.deepEqual({ delivered, statusCode }, { delivered: false, statusCode: 307 });
    assert.equal(target.received.length, 0);
  });

  it("does not reach a receiver whose name leads to a private address", async () => {
    const { origin, received } = await receiver();
    const { port } = new URL(origin);
    const { delivered, permanent, error } = tried(await prepare().attempt(`http://receiver.test:${port}/hook`));
    // As one that does not exist: it may yet.
    assert.deepEqual({ delivered, permanent }, { delivered: false, permanent: undefined });
    assert.match(error ?? "", /receiver\.test has no public address/);
    assert.equal(received.length, 0);
  });

  it("does not wait for a receiver that hangs", async () => {
    const hanging = await receiver(() => {});
    const well = await receiver();
    const { attempt } = prepare({ timeoutMs: 300_000, receivers: { maxInFlight: 2, maxUnanswered: 5, pauseMs: 1000 } });
    const held = [attempt(hanging.url), attempt(hanging.url)].map((made) => made.catch((error: unknown) => error));
    await eventually("both hang", () => hanging.received.length === 2);
    assert.ok("postponedMs" in (await attempt(hanging.url)), "the third one is put off");
    assert.ok(tried(await attempt(well.url)).delivered, "another receiver is served");
    await hanging.close();
    receivers.splice(receivers.indexOf(hanging), 1);
    await Promise.all(held);
  });

  it("is put off, not used up, while its receiver answers nobody", async () => {
    const hanging = await receiver(() => {});
    const { attempt, store } = prepare({
      timeoutMs: 20,
      receivers: { maxInFlight: 9, maxUnanswered: 2, pauseMs: 3_600_000 },
    });
    for (let made = 1; made <= 2; made += 1) assert.match(tried(await attempt(hanging.url)).error ?? "", /timeout/);
    const jobId = randomUUID();
    const postponed = await attempt(hanging.url, { jobId });
    assert.ok("postponedMs" in postponed && postponed.postponedMs > 1_800_000);
    assert.equal(await readLedger(store, jobId), undefined);
    const last = tried(await attempt(hanging.url, { jobId, postponed: 3 }));
    assert.match(last.error ?? "", /has not been answering/);
    assert.equal(hanging.received.length, 2);
    assert.deepEqual((await readLedger(store, jobId))?.attempts, [last]);
  });

  /** A receiver that redirects from `/hook` as it is told, and takes what comes to any other path. */
  async function redirecting(status: number, locationOf: (origin: string) => string): Promise<Receiver> {
    const started = await startReceiver((response) => {
      if (response.req.url?.startsWith("/hook") !== true) response.end();
      else response.writeHead(status, { Location: locationOf(started.origin) }).end();
    });
    receivers.push(started);
    return started;
  }

  for (const [status, location, path] of [
    [307, () => "/moved?now=1", "/moved?now=1"],
    [308, (origin: string) => `${origin}/moved`, "/moved"],
    [308, () => "moved", "/moved"],
  ] as const) {
    it(`follows ${status} to ${location("…")} on the same host, with the same request`, async () => {
      const { url, received } = await redirecting(status, location);
      const jobId = randomUUID();
      const { attempt } = prepare();
      assert.deepEqual((({ at: _at, ms: _ms, ...made }) => made)(tried(await attempt(url, { jobId }))), {
        delivered: true,
        statusCode: 200,
      });
      const [first, second] = received;
      assert.equal(received.length, 2);
      assert.equal(second?.url, path);
      assert.deepEqual([second?.method, second?.body], ["POST", first?.body]);
      for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature", "content-type"]) {
        assert.ok(second?.headers[name], name);
        assert.equal(second.headers[name], first?.headers[name], name);
      }
    });
  }

  for (const [status, location, shown] of [
    [301, (origin: string) => `${origin}/moved?token=secret`, "/moved"],
    [302, () => "/login?next=secret#secret", "/login"],
    [303, () => "/see", "/see"],
    [307, (origin: string) => `${origin.replace("127.0.0.1", "localhost")}/a?token=secret`, "localhost"],
    [308, () => "https://user:secret@other.example/hook?token=secret", "https://other.example/hook"],
    [308, () => "https://127.0.0.1:1/hook", "https://127.0.0.1:1/hook"],
    [307, () => "/hook?again", "/hook"],
    [307, () => "javascript:secret", "not an http"],
    [307, () => "http://", "not an http"],
  ] as const) {
    it(`says where ${status} to ${location("…")} leads, and goes nowhere else`, async () => {
      const { url, received } = await redirecting(status, location);
      const jobId = randomUUID();
      const { attempt, store } = prepare();
      const made = tried(await attempt(url, { jobId }));
      assert.deepEqual([made.delivered, made.statusCode, made.permanent], [false, status, undefined]);
      assert.ok(made.location?.includes(shown), made.location);
      assert.ok(made.error?.includes(made.location ?? "?"), made.error);
      assert.deepEqual((await readLedger(store, jobId))?.attempts, [made]);
      assert.doesNotMatch(JSON.stringify(made), /secret|user/);
      assert.equal(received.length, location("").startsWith("/hook") ? 4 : 1);
    });
  }

  it("says nothing of a redirect that leads nowhere", async () => {
    const { url } = await receiver((response) => response.writeHead(307).end());
    const made = tried(await prepare().attempt(url));
    assert.deepEqual([made.statusCode, made.location, made.error], [307, undefined, undefined]);
  });

  it("is checked anew on every hop: only the origin that was called is exempt", async () => {
    const { url, received } = await redirecting(308, (origin) => origin.replace("http:", "https:"));
    const made = tried(await prepare().attempt(url));
    assert.match(made.error ?? "", /127\.0\.0\.1 is not a public address/);
    assert.deepEqual([made.permanent, received.length], [true, 1]);
  });

  it("is written down, the later ones after the first", async () => {
    const statuses = [503, 200];
    const { url } = await receiver((response) => response.writeHead(statuses.shift() ?? 500).end());
    const { attempt, store } = prepare();
    const jobId = randomUUID();
    const made = [await attempt(url, { jobId }), await attempt(url, { jobId, attempt: 2 })];
    const ledger = await readLedger(store, jobId);
    assert.deepEqual(ledger?.attempts, made);
    assert.deepEqual(
      ledger?.attempts.map(({ statusCode }) => statusCode),
      [503, 200],
    );
    assert.equal(ledger?.request.url, url);
  });
});
