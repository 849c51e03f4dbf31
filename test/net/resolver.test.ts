import assert from "node:assert/strict";
import { lookup } from "node:dns/promises";
import { createNameResolver, type NameResolver } from "../../src/net/resolver.ts";
import { createSafeFetch } from "../../src/net/safeFetch.ts";
import { startNameServer } from "../support/nameServer.ts";

const A = (name: string, data: string) => ({ type: "A" as const, name, ttl: 60, data });
const AAAA = (name: string, data: string) => ({ type: "AAAA" as const, name, ttl: 60, data });
const CNAME = (name: string, data: string) => ({ type: "CNAME" as const, name, ttl: 60, data });

describe("names that came from outside", () => {
  let server: Awaited<ReturnType<typeof startNameServer>>;
  let resolver: NameResolver;

  before(async () => {
    server = await startNameServer(({ name, type }, over) => {
      const four = type === "A";
      if (name.endsWith(".slow.test")) return "SILENCE";
      if (name === "four.test") return four ? [A(name, "93.184.216.34")] : [];
      if (name === "six.test") return four ? [] : [AAAA(name, "2606:2800:220:1::1")];
      if (name === "both.test") return four ? [A(name, "93.184.216.34")] : [AAAA(name, "2606:2800:220:1::1")];
      if (name === "half.test") return four ? [A(name, "93.184.216.34")] : "SERVFAIL";
      if (name === "alias.test") return four ? [CNAME(name, "four.test"), A("four.test", "93.184.216.34")] : [];
      if (name === "long.test" && four) return over === "udp" ? "TRUNCATED" : [A(name, "93.184.216.34")];
      if (name === "private.test") return four ? [A(name, "10.0.0.7")] : [];
      if (name === "mixed.test") return four ? [A(name, "93.184.216.34")] : [AAAA(name, "fd00::1")];
      if (name === "broken.test") return "SERVFAIL";
      return name === "long.test" || name === "empty.test" ? [] : "NXDOMAIN";
    });
    resolver = createNameResolver({ servers: [server.address] });
  });
  after(() => server.close());

  const four = { address: "93.184.216.34", family: 4 };
  const six = { address: "2606:2800:220:1::1", family: 6 };
  for (const [name, found] of [
    ["four.test", [four]],
    ["six.test", [six]],
    ["both.test", [four, six]],
    ["half.test", [four]],
    ["alias.test", [four]],
    ["long.test", [four]],
  ] as const) {
    it(`are looked up: ${name}`, async () => assert.deepEqual(await resolver.resolve(name), found));
  }

  for (const [name, said] of [
    ["nowhere.test", { name: "NameNotFound", code: "ENOTFOUND" }],
    ["empty.test", { name: "NameNotFound", code: "ENOTFOUND" }],
    ["broken.test", { name: "Error", message: "the name servers do not answer" }],
    ["one.slow.test", { name: "Error", message: "the name servers do not answer" }],
  ] as const) {
    it(`are told apart when there is no answer: ${name}`, async () => {
      await assert.rejects(resolver.resolve(name), said);
    });
  }

  it("are asked for once by all who want them at one time", async () => {
    server.asked.length = 0;
    const other = createNameResolver({ servers: [server.address] });
    await Promise.all(Array.from({ length: 20 }, () => other.resolve("both.test")));
    assert.deepEqual(server.asked.sort(), ["A both.test", "AAAA both.test"]);
  });

  it("keep nobody else's waiting, nor those of the system", async () => {
    const fetcher = createSafeFetch({ trustedOrigins: { inputs: [], webhooks: [] }, resolver });
    const giveUp = new AbortController();
    const limits = { maxBytes: 1, timeoutMs: 60_000, maxRedirects: 0 };
    const slow = Array.from({ length: 400 }, (_, index) =>
      fetcher
        .get(`http://n${index}.slow.test/`, { ...limits, tenant: "one", signal: giveUp.signal })
        .then(() => "", String),
    );
    let over = false;
    void Promise.all(slow).then(() => {
      over = true;
    });
    const private_ = fetcher.get("http://private.test/", { ...limits, tenant: "two" });
    await assert.rejects(private_, { name: "NoPublicAddress" });
    await assert.rejects(fetcher.get("http://mixed.test/", { ...limits, tenant: "two" }), { name: "NoPublicAddress" });
    await lookup("localhost");
    assert.equal(over, false, "the slow ones still wait");
    // Whoever gives up waits for no name server.
    giveUp.abort(new Error("not wanted any more"));
    assert.deepEqual(new Set(await Promise.all(slow)), new Set(["Error: not wanted any more"]));
    await fetcher.close();
  });
});
