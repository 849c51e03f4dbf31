import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { pino } from "pino";
import { createRateLimits } from "../../../src/api/http/rateLimits.ts";
import { createLogger } from "../../../src/process/log.ts";
import { eventually } from "../../support/eventually.ts";
import { startRedis, type TestRedis } from "../../support/redis.ts";
import { KEY, startTestApi, type TestApi } from "../support.ts";

const tenantKeys = [
  { name: "anna", key: "the-api-key-of-anna" },
  { name: "bert", key: "the-api-key-of-bert", rate: 5 },
];
const env = { RATE_LIMIT: "3", C3_RENDER_KEYS: JSON.stringify(tenantKeys) };

describe("rate limits", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await startTestApi({ env });
  });
  afterEach(() => api.close());

  const ask = (key: string, path = "/status/1") => api.fetch(path, { headers: { Authorization: `Bearer ${key}` } });
  /** A bad body is a submission, too. */
  const submit = (key: string, path = "/csm") => api.post(path, {}, { Authorization: `Bearer ${key}` });
  const rateHeaders = ({ headers }: Response) =>
    Object.fromEntries([...headers].filter(([name]) => name.startsWith("ratelimit-")));

  it("tell what is left, and refuse what is over with the time to wait", async () => {
    const statuses: number[] = [];
    for (const remaining of ["2", "1", "0"]) {
      const response = await submit("the-api-key-of-anna");
      statuses.push(response.status);
      const { "ratelimit-reset": reset, ...rest } = rateHeaders(response);
      assert.deepEqual(rest, {
        "ratelimit-limit": "3",
        "ratelimit-policy": "3;w=60",
        "ratelimit-remaining": remaining,
      });
      assert.ok(Number(reset) > 0 && Number(reset) <= 60);
    }
    assert.deepEqual(statuses, [400, 400, 400]);
    const refused = await submit("the-api-key-of-anna");
    assert.equal(refused.status, 429);
    assert.equal(rateHeaders(refused)["ratelimit-remaining"], "0");
    assert.equal(refused.headers.get("Retry-After"), rateHeaders(refused)["ratelimit-reset"]);
    const { code, request_id } = (await refused.json()) as Record<string, string>;
    assert.equal(code, "too_many_requests");
    assert.equal(request_id, refused.headers.get("X-Request-Id"));
  });

  it("are one for all kinds of submissions, by whatever path", async () => {
    const paths = ["/csm", "/api/v0/whisper", "/portrait", "/analyze"];
    const statuses = await Promise.all(paths.map(async (path) => (await submit("the-api-key-of-anna", path)).status));
    assert.deepEqual(statuses.sort(), [400, 400, 400, 429]);
  });

  it("are each key's own, and a key may have another one", async () => {
    const statuses = async (key: string) => {
      const answers = [];
      for (let request = 0; request < 6; request += 1) answers.push((await submit(key)).status);
      return answers;
    };
    assert.deepEqual(await statuses("the-api-key-of-anna"), [400, 400, 400, 429, 429, 429]);
    assert.deepEqual(await statuses("the-api-key-of-bert"), [400, 400, 400, 400, 400, 429]);
  });

  it("let ten times as many other requests through, which leave submissions alone", async () => {
    const responses = await Promise.all(Array.from({ length: 31 }, () => ask("the-api-key-of-anna")));
    assert.equal(rateHeaders(responses[0]!)["ratelimit-limit"], "30");
    assert.deepEqual([...new Set(responses.map(({ status }) => status))].sort(), [400, 429]);
    assert.equal(responses.filter(({ status }) => status === 429).length, 1);
    assert.equal((await submit("the-api-key-of-anna")).status, 400);
    assert.equal((await ask(KEY)).status, 400);
  });

  it("do not count what needs no key", async () => {
    for (let request = 0; request < 35; request += 1) {
      const response = await ask("the-api-key-of-anna", "/healthz");
      assert.equal(response.status, 200);
      assert.deepEqual(rateHeaders(response), {});
    }
  });
});

describe("wrong keys", () => {
  const ALLOWED = 30;
  let api: TestApi;
  beforeEach(async () => {
    api = await startTestApi({ env: { TRUST_PROXY: "true" } });
  });
  afterEach(() => api.close());

  const ask = async (key: string, forwarded?: string) => {
    const headers = { Authorization: `Bearer ${key}`, ...(forwarded && { "X-Forwarded-For": forwarded }) };
    const response = await fetch(`${api.url}/status/1`, { headers });
    await response.arrayBuffer();
    return response;
  };
  const exhaust = async (forwarded?: string) => {
    for (let request = 0; request < ALLOWED; request += 1) {
      assert.equal((await ask("wrong", forwarded)).status, 401);
    }
  };

  it("by the ten thousand are cut off, while right ones pass", async function () {
    this.timeout(180_000);
    const guesses = 10_000;
    let guessing = true;
    const answers = Promise.all(Array.from({ length: 4 }, (_, part) => guess(api.url, part, guesses / 4)));
    void answers.finally(() => {
      guessing = false;
    });
    let passed = 0;
    while (guessing) {
      assert.equal((await ask(KEY)).status, 400);
      passed += 1;
    }
    const statuses = (await answers).flat();
    assert.equal(statuses.length, guesses);
    assert.deepEqual([...new Set(statuses)].sort(), [401, 429]);
    const cutOff = statuses.filter((status) => status === 429).length;
    assert.ok(cutOff > guesses * 0.9, `${cutOff} were cut off`);
    assert.ok(passed > 0);
    const refused = await ask("wrong");
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers.get("Retry-After")) > 0);
  });

  describe("from where a right one comes, too", () => {
    const address = "198.51.100.9";
    let proxied: TestApi;
    before(async () => {
      proxied = await startTestApi({ env: { TRUST_PROXY: "true", AUTH_FAILURES_PER_MINUTE: "2" } });
      for (let failure = 0; failure < 10; failure += 1) await statusWith({ "X-C3-RENDER-KEY": "wrong" });
    });
    after(() => proxied.close());
    const statusWith = async (headers: Record<string, string>) =>
      (await fetch(`${proxied.url}/status/1`, { headers: { ...headers, "X-Forwarded-For": address } })).status;

    for (const [what, headers, status] of [
      ["a wrong key", { "X-C3-RENDER-KEY": "wrong" }, 429],
      ["a wrong bearer token", { Authorization: "Bearer wrong" }, 429],
      ["no key", {}, 401],
      ["the right key", { "X-C3-RENDER-KEY": KEY }, 400],
      ["the right bearer token", { Authorization: `Bearer ${KEY}` }, 400],
      ["the right key with a wrong token", { "X-C3-RENDER-KEY": KEY, Authorization: "Bearer wrong" }, 400],
      ["the right token with a wrong key", { "X-C3-RENDER-KEY": "wrong", Authorization: `Bearer ${KEY}` }, 400],
    ] as [string, Record<string, string>, number][]) {
      it(`after too many: ${status} for ${what}`, async () => assert.equal(await statusWith(headers), status));
    }
  });

  it("count for the address that the trusted proxy saw, not for what was said before it", async () => {
    await exhaust("203.0.113.1, 198.51.100.7");
    assert.equal((await ask("wrong", "203.0.113.99, 198.51.100.7")).status, 429);
    assert.equal((await ask("wrong", "198.51.100.7, 198.51.100.8")).status, 401);
    assert.equal((await ask("wrong")).status, 401);
  });

  it("count for the whole network of an IPv6 address", async () => {
    await exhaust("2001:db8:1:2::1");
    assert.equal((await ask("wrong", "2001:db8:1:2:3:4:5:6")).status, 429);
    assert.equal((await ask("wrong", "2001:db8:1:3::1")).status, 401);
  });

  it("are not counted by what a proxy says that is not trusted", async () => {
    const direct = await startTestApi();
    const askDirect = (forwarded: string) =>
      fetch(`${direct.url}/status/1`, { headers: { Authorization: "Bearer wrong", "X-Forwarded-For": forwarded } });
    const statuses: number[] = [];
    for (let request = 0; request <= ALLOWED; request += 1) {
      statuses.push((await askDirect(`198.51.100.${request}`)).status);
    }
    assert.equal(statuses.at(-1), 429);
    await direct.close();
  });
});

describe("rate limits in Redis", () => {
  let redis: TestRedis;
  const closers: (() => void)[] = [];
  before(async function () {
    const started = await startRedis();
    if (started === undefined) {
      console.log("      There is no redis-server: the limits that processes share are not tested");
      return this.skip();
    }
    redis = started;
  });
  after(async () => {
    for (const close of closers) close();
    await redis?.stop();
  });

  it("are shared by processes, and go on in each of them while Redis is away", async () => {
    const lines: string[] = [];
    const [one, other] = [
      await createRateLimits({ rateLimitRedisUrl: redis.url }, loggerInto(lines)),
      await createRateLimits({ rateLimitRedisUrl: redis.url }, createLogger("silent")),
    ];
    closers.push(one.close, other.close);
    const taken = [];
    for (const limits of [one, other, one, other]) taken.push(await limits.take("submission", "anna", 3));
    assert.deepEqual(
      taken.map(({ allowed, remaining }) => ({ allowed, remaining })),
      [
        { allowed: true, remaining: 2 },
        { allowed: true, remaining: 1 },
        { allowed: true, remaining: 0 },
        { allowed: false, remaining: 0 },
      ],
    );
    assert.deepEqual(lines, []);

    await redis.stop();
    for (const limits of [one, other]) {
      const answers = [];
      for (let request = 0; request < 4; request += 1)
        answers.push((await limits.take("submission", "bert", 3)).allowed);
      assert.deepEqual(answers, [true, true, true, false]);
    }
    assert.equal(lines.length, 1, "an outage is one line");
    assert.match(lines[0]!, /Redis does not answer/);

    redis = (await startRedis(Number(new URL(redis.url).port)))!;
    await eventually("limits are shared again", async () => {
      const { remaining } = await one.take("read", "probe", 1000);
      return (await other.take("read", "probe", 1000)).remaining === remaining - 1 || undefined;
    });
  });
});

describe("rate limits in a Redis that is none", () => {
  it("go on in memory when nothing listens there, and no secret is logged", async () => {
    const lines: string[] = [];
    const url = "redis://user:secret@127.0.0.1:1";
    const api = await startTestApi({ env: { ...env, RATE_LIMIT_REDIS_URL: url }, log: loggerInto(lines) });
    const statuses: number[] = [];
    for (let request = 0; request < 4; request += 1) {
      const headers = { Authorization: "Bearer the-api-key-of-anna" };
      statuses.push((await api.post("/csm", {}, headers)).status);
    }
    await api.close();
    assert.deepEqual(statuses, [400, 400, 400, 429]);
    assert.match(lines.join(""), /Redis does not answer/);
    assert.doesNotMatch(lines.join(""), /secret/);
  });

  it("go on in memory when it never answers", async () => {
    const silent = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as AddressInfo;
    const limits = await createRateLimits({ rateLimitRedisUrl: `redis://127.0.0.1:${port}` }, createLogger("silent"));
    assert.equal((await limits.take("submission", "anna", 1)).allowed, true);
    assert.equal((await limits.take("submission", "anna", 1)).allowed, false);
    limits.close();
    silent.close();
    await once(silent, "close");
  });
});

/** Makes that many requests with wrong keys over one connection, and returns the statuses of the answers. */
async function guess(url: string, part: number, requests: number): Promise<number[]> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  const statuses: number[] = [];
  const ask = () =>
    socket.write(
      `GET /status/1 HTTP/1.1\r\nHost: localhost\r\nX-C3-RENDER-KEY: ${KEY}-${part}-${statuses.length}\r\n\r\n`,
    );
  ask();
  // The first line of an answer follows the body of the one before, which ends without a line feed.
  for await (const line of createInterface({ input: socket })) {
    const status = /HTTP\/1\.1 (\d{3}) /.exec(line)?.[1];
    if (status === undefined) continue;
    if (statuses.push(Number(status)) === requests) break;
    ask();
  }
  socket.destroy();
  return statuses;
}

function loggerInto(lines: string[]) {
  const sink = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  return pino({ level: "warn" }, sink);
}
