import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { NameNotFound, type NameResolver } from "../../src/net/resolver.ts";
import { createSafeFetch, NoPublicAddress, type SafeFetch, TooLarge, UnsafeUrl } from "../../src/net/safeFetch.ts";

/** Names that a test may look up; what they lead to is an attacker's choice. */
const names: Record<string, string[]> = {
  "private.test": ["127.0.0.1"],
  "private6.test": ["::1"],
  "mapped.test": ["::ffff:127.0.0.1"],
  "mixed.test": ["93.184.216.34", "127.0.0.1"],
  "mixed-last.test": ["127.0.0.1", "93.184.216.34"],
  "metadata.test": ["169.254.169.254"],
  "nat64.test": ["64:ff9b::7f00:1"],
  "empty.test": [],
};

describe("safeFetch", () => {
  let server: Server;
  let port: number;
  let contacts = 0;
  let fetcher: SafeFetch;
  let trusting: SafeFetch;
  const lookups: string[] = [];

  const resolver: NameResolver = {
    async resolve(name) {
      lookups.push(name);
      if (name === "missing.test") throw new NameNotFound("the name was not found");
      const addresses = names[name] ?? ["127.0.0.1"];
      return addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    },
  };

  before(async () => {
    server = createServer((request, response) => {
      contacts += 1;
      const target = new URL(request.url ?? "/", "http://x").searchParams.get("to");
      if (target !== null) response.writeHead(302, { location: target }).end();
      else if (request.url === "/large") response.end("x".repeat(5000));
      else if (request.url === "/endless") response.write("x");
      else if (request.url === "/closing") response.setHeader("Connection", "close").end(Buffer.alloc(1_000_000));
      else if (request.url === "/loop") response.writeHead(302, { location: "/loop" }).end();
      else response.end(`${request.method} ${request.headers.authorization ?? ""}`);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    port = (server.address() as AddressInfo).port;
    fetcher = createSafeFetch({ trustedOrigins: { inputs: [], webhooks: [] }, resolver });
    trusting = createSafeFetch({
      trustedOrigins: { inputs: [`http://127.0.0.1:${port}`], webhooks: [`http://127.0.0.1:${port}`] },
      resolver,
    });
  });
  after(async () => {
    await Promise.all([fetcher.close(), trusting.close()]);
    server.closeAllConnections();
    server.close();
  });

  const limits = { maxBytes: 1000, timeoutMs: 5000, maxRedirects: 3, tenant: "t" };
  const get = (url: string, from = fetcher) => from.get(url, limits);

  const hostile = [
    ...["127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001"],
    ...[
      "0.0.0.0",
      "0",
      "localhost",
      "LOCALHOST",
      "a.localhost",
      "127.0.0.1.",
      "①②⑦.0.0.1",
      "127。0。0。1",
      "%31%32%37.0.0.1",
    ],
    ...[
      "[::1]",
      "[::]",
      "[::ffff:127.0.0.1]",
      "[::ffff:7f00:1]",
      "[0:0:0:0:0:0:0:1]",
      "[::7f00:1]",
      "[64:ff9b::7f00:1]",
    ],
    ...[
      "[2002:7f00:1::]",
      "[2001::1]",
      "[fe80::1]",
      "[fd00::1]",
      "[fec0::1]",
      "[ff02::1]",
      "[2001:db8::1]",
      "[100::1]",
    ],
    ...[
      "10.0.0.1",
      "172.16.0.1",
      "192.168.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "198.18.0.1",
      "224.0.0.1",
      "255.255.255.255",
    ],
    ...["192.0.2.1", "user:secret@127.0.0.1", "8.8.8.8@127.0.0.1", ...Object.keys(names)],
  ];
  const isRefused = (error: unknown) => error instanceof UnsafeUrl || error instanceof NoPublicAddress;
  for (const host of hostile) {
    it(`refuses http://${host} and contacts nobody`, async () => {
      const before = contacts;
      const error = await get(`http://${host}:${port}/`).catch((caught: unknown) => caught);
      assert.ok(isRefused(error) && error instanceof Error, String(error));
      assert.ok(!error.message.includes("secret"), error.message);
      await assert.rejects(
        fetcher.post(`http://${host}:${port}/`, { body: "{}", headers: {}, timeoutMs: 5000, tenant: "t" }),
        isRefused,
      );
      assert.equal(contacts, before);
    });
  }

  it("does not tell a name that is private from one that does not exist", async () => {
    const told = async (name: string) => {
      const error = await get(`http://${name}/`).then(
        () => undefined,
        (caught: unknown) => caught as Error,
      );
      return [error?.name, error?.message.replace(name, "it")];
    };
    assert.deepEqual(await told("private.test"), await told("missing.test"));
    assert.deepEqual(await told("private.test"), ["NoPublicAddress", "it has no public address"]);
  });

  for (const url of [
    "file:///etc/passwd",
    "ftp://example.com/",
    "gopher://127.0.0.1/",
    "data:text/plain,x",
    "nonsense",
  ]) {
    it(`refuses ${url}`, () => assert.rejects(get(url), UnsafeUrl));
  }

  for (const target of [
    "http://127.0.0.1:1/",
    "http://private.test/",
    "http://[::1]/",
    "file:///etc/passwd",
    "//169.254.169.254/",
  ]) {
    it(`refuses a redirect of a trusted origin to ${target}`, async () => {
      await assert.rejects(get(`http://127.0.0.1:${port}/?to=${encodeURIComponent(target)}`, trusting), isRefused);
    });
  }

  it("trusts an origin for what it is trusted for, and for nothing else", async () => {
    const origin = `http://127.0.0.1:${port}`;
    const post = { body: "{}", headers: {}, timeoutMs: 5000, tenant: "t" };
    const ofInputs = createSafeFetch({ trustedOrigins: { inputs: [origin], webhooks: [] }, resolver });
    assert.equal((await get(origin, ofInputs)).status, 200);
    await assert.rejects(ofInputs.post(origin, post), UnsafeUrl);
    const ofWebhooks = createSafeFetch({ trustedOrigins: { inputs: [], webhooks: [origin] }, resolver });
    assert.equal((await ofWebhooks.post(origin, post)).status, 200);
    await assert.rejects(get(origin, ofWebhooks), UnsafeUrl);
    await Promise.all([ofInputs.close(), ofWebhooks.close()]);
  });

  it("follows no more redirects than it may", async () => {
    await assert.rejects(get(`http://127.0.0.1:${port}/loop`, trusting), UnsafeUrl);
  });

  it("gets from a trusted origin, with the URL's credentials as a header", async () => {
    const { status, body } = await get(`http://me:pass@127.0.0.1:${port}/`, trusting);
    assert.equal(status, 200);
    assert.equal(await text(body), `GET Basic ${Buffer.from("me:pass").toString("base64")}`);
  });

  it("stops a body that is too large, or too slow", async () => {
    await assert.rejects(async () => text((await get(`http://127.0.0.1:${port}/large`, trusting)).body), TooLarge);
    const slow = await trusting.get(`http://127.0.0.1:${port}/endless`, { ...limits, timeoutMs: 200 });
    await assert.rejects(text(slow.body));
  });

  it("ends a body that nobody reads at the time limit, without noise", async () => {
    const { body } = await trusting.get(`http://127.0.0.1:${port}/endless`, { ...limits, timeoutMs: 100 });
    await new Promise((resolve) => body.once("close", resolve));
  });

  it("survives a server that closes while its body is read slowly", async () => {
    const bytes = 1_000_000;
    for (const pauseMs of [1, 3, 5, 10]) {
      const { body } = await trusting.get(`http://127.0.0.1:${port}/closing`, { ...limits, maxBytes: bytes });
      let read = 0;
      for await (const chunk of body) {
        read += chunk.length;
        await sleep(pauseMs);
      }
      assert.equal(read, bytes);
    }
  });

  describe("of servers as they are", () => {
    interface Asked {
      host: string;
      path: string;
      headers: IncomingHttpHeaders;
    }
    const asked: Asked[] = [];
    let picky: Server;
    let origin: string;
    let other: string;

    before(async () => {
      picky = createServer((request, response) => {
        const { url = "/", headers } = request;
        asked.push({ host: headers.host ?? "", path: url, headers });
        const elsewhere = headers.host?.startsWith("127.0.0.1") ? other : origin;
        const [path] = url.split("?");
        if (path === "/agent") response.writeHead(headers["user-agent"] === undefined ? 403 : 200).end("file");
        else if (path === "/sets") {
          const cookies = [
            "session=abc; Path=/",
            "old=1; Max-Age=0",
            "far=1; Domain=example.com",
            "deep=1; Path=/deep",
          ];
          response.writeHead(302, { location: "/gate", "set-cookie": cookies }).end();
        } else if (path === "/gate") {
          if (headers.cookie !== "session=abc") response.writeHead(302, { location: "/sets" }).end();
          else response.end("let in");
        } else if (path === "/leaves") {
          response.writeHead(302, { location: `${elsewhere}/lands`, "set-cookie": "secret=1; Path=/" }).end();
        } else if (path === "/returns") response.writeHead(302, { location: "/lands" }).end();
        else if (path === "/back") {
          response.writeHead(307, { location: `http://${headers.host}/lands` }).end();
        } else if (path === "/lands") response.end(`landed ${headers.cookie ?? "-"} ${headers.authorization ?? "-"}`);
        else if (path === "/hops") {
          const left = Number(new URL(url, "http://x").searchParams.get("left"));
          if (left === 0) response.end("there");
          else response.writeHead(303, { location: `/hops?left=${left - 1}` }).end();
        } else if (path === "/unescaped") {
          response.writeHead(302, { location: Buffer.from("/größe").toString("latin1") }).end();
        } else if (path === "/gr%C3%B6%C3%9Fe") response.end("big");
        else if (path === "/zipped") {
          response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("a".repeat(500)));
        } else if (path === "/bomb") {
          response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(50_000_000)));
        } else if (path === "/short") {
          response.writeHead(200, { "content-length": "500" });
          response.write("only this");
          setTimeout(() => response.destroy(), 20);
        } else response.writeHead(404).end();
      });
      picky.listen(0, "127.0.0.1");
      await once(picky, "listening");
      const { port: pickyPort } = picky.address() as AddressInfo;
      origin = `http://127.0.0.1:${pickyPort}`;
      other = `http://localhost:${pickyPort}`;
      fetchers.push(
        createSafeFetch({ trustedOrigins: { inputs: [origin, other], webhooks: [origin, other] }, resolver }),
      );
    });
    beforeEach(() => {
      asked.length = 0;
    });
    after(async () => {
      await Promise.all(fetchers.map((each) => each.close()));
      picky.closeAllConnections();
      picky.close();
    });
    const fetchers: SafeFetch[] = [];
    const fetched = async (url: string, maxRedirects = 10) => {
      const { status, body } = await fetchers[0]!.get(url, { ...limits, maxRedirects });
      return [status, await text(body)];
    };

    it("says who asks, and asks for the file as it is", async () => {
      assert.deepEqual(await fetched(`${origin}/agent`), [200, "file"]);
      assert.match(asked[0]!.headers["user-agent"] ?? "", /^c3-render\/\d+\.\d+\.\d+$/);
      assert.equal(asked[0]!.headers["accept-encoding"], "identity");
      await fetchers[0]!.post(`${origin}/agent`, {
        body: "{}",
        headers: { "X-Mine": "1" },
        timeoutMs: 5000,
        tenant: "t",
      });
      assert.match(asked[1]!.headers["user-agent"] ?? "", /^c3-render\//);
      assert.equal(asked[1]!.headers["x-mine"], "1");
    });

    it("keeps cookies within one download, and gives each host its own only", async () => {
      assert.deepEqual(await fetched(`${origin}/gate`), [200, "let in"]);
      assert.equal(asked[0]!.headers.cookie, undefined);
      assert.deepEqual(await fetched(`${origin}/lands`), [200, "landed - -"]);
      assert.deepEqual(await fetched(`${origin}/leaves`), [200, "landed - -"]);
      assert.equal(asked.at(-1)!.host.split(":")[0], "localhost");
    });

    it("gives credentials to the origin that they are for, and to no other", async () => {
      const basic = `Basic ${Buffer.from("me:pass").toString("base64")}`;
      const named = origin.replace("//", "//me:pass@");
      assert.deepEqual(await fetched(`${named}/returns`), [200, `landed - ${basic}`]);
      assert.deepEqual(await fetched(`${named}/back`), [200, `landed - ${basic}`]);
      assert.deepEqual(await fetched(`${named}/leaves`), [200, "landed - -"]);
    });

    it("follows ten redirects, and no more", async () => {
      assert.deepEqual(await fetched(`${origin}/hops?left=10`), [200, "there"]);
      await assert.rejects(fetched(`${origin}/hops?left=11`), /redirects more than 10 times/);
    });

    it("follows a redirect that is not escaped", async () => {
      assert.deepEqual(await fetched(`${origin}/unescaped`), [200, "big"]);
    });

    it("decodes what a server encodes in spite of that, and counts what comes out", async () => {
      assert.deepEqual(await fetched(`${origin}/zipped`), [200, "a".repeat(500)]);
      await assert.rejects(fetched(`${origin}/bomb`), TooLarge);
    });

    it("fails on a body that breaks off", async () => {
      await assert.rejects(
        fetched(`${origin}/short`),
        (error) => !(error instanceof UnsafeUrl || error instanceof TooLarge),
      );
    });
  });

  describe("of servers that take their time", () => {
    const pace = { firstByteMs: 300, windowMs: 600, bytesPerWindow: 100 };
    let server: Server;
    let origin: string;
    let impatient: SafeFetch;
    const timers: NodeJS.Timeout[] = [];

    before(async () => {
      server = createServer((request, response) => {
        const every = (ms: number, bytes: number, times: number) => {
          let left = times;
          const timer = setInterval(() => {
            left -= 1;
            if (left < 0) {
              clearInterval(timer);
              response.end();
            } else response.write("x".repeat(bytes));
          }, ms);
          timers.push(timer);
        };
        if (request.url === "/silent") return;
        if (request.url === "/redirects") response.writeHead(302, { location: "/silent" }).end();
        else if (request.url === "/headers-only") response.flushHeaders();
        else if (request.url === "/trickles") every(20, 1, 10_000);
        else every(20, 20, 60);
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      impatient = createSafeFetch({ trustedOrigins: { inputs: [origin], webhooks: [origin] }, resolver, pace });
    });
    after(async () => {
      for (const timer of timers) clearInterval(timer);
      await impatient.close();
      server.closeAllConnections();
      server.close();
    });
    const body = async (path: string) => {
      const { body } = await impatient.get(`${origin}${path}`, { ...limits, maxBytes: 10_000, timeoutMs: 60_000 });
      return await text(body);
    };

    for (const [path, reason] of [
      ["/silent", /no answer within 300 ms/],
      ["/redirects", /no answer within 300 ms/],
      ["/headers-only", /sent less than 100 bytes in 0\.6 s/],
      ["/trickles", /sent less than 100 bytes in 0\.6 s/],
    ] as const) {
      it(`gives up ${path}`, async () => assert.rejects(body(path), reason));
    }

    it("lets a server be slow that goes on", async () => assert.equal((await body("/slow")).length, 1200));
  });

  it("uses no proxy, whatever the environment says", async () => {
    process.env.HTTP_PROXY = "http://127.0.0.1:1";
    try {
      assert.equal((await get(`http://127.0.0.1:${port}/`, trusting)).status, 200);
    } finally {
      delete process.env.HTTP_PROXY;
    }
  });
});
