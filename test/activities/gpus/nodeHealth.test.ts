import assert from "node:assert/strict";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { ApplicationFailure, Context } from "@temporalio/activity";
import { MockActivityEnvironment } from "@temporalio/testing";
import { DefaultLogger } from "@temporalio/worker";
import type { InstanceSource } from "../../../src/activities/gpus/instanceProvider.ts";
import { createNodeHealth } from "../../../src/activities/gpus/nodeHealth.ts";
import { loadConfig } from "../../../src/config/index.ts";
import { eventually } from "../../support/eventually.ts";
import { blockTheLoop } from "../../support/lateness.ts";

const quiet = new DefaultLogger("ERROR", () => {});
type Options = Partial<Parameters<typeof createNodeHealth>[0]>;

/** Nothing but what the checks ask of it. */
function rented(answers: () => boolean): InstanceSource {
  const never = () => Promise.reject(new Error("not asked for"));
  return { launch: never, isThere: never, end: never, answers: async () => answers() };
}

function configOf(nodeUrl: string, env: Record<string, string> = {}) {
  const config = loadConfig({ GPU_PROVIDER: "simulator", C3_API_KEY: "k", NODE_URL_TEMPLATE: nodeUrl, ...env });
  return { ...config, gpu: { ...config.gpu, watchIntervalMs: 10, checkRetryMs: 10 } };
}

/** What a watch says; `open` while it says nothing. */
function watch(options: { config: ReturnType<typeof configOf>; source: InstanceSource } & Options, node = "node-1") {
  const health = createNodeHealth(options);
  const environment = new MockActivityEnvironment({}, { logger: quiet });
  let checks = 0;
  const others = async () => {
    checks += 1;
    return undefined;
  };
  const verdict = environment
    .run(() => health.watch(node, Context.current().cancellationSignal, others))
    .catch((error: unknown) => {
      if (error instanceof ApplicationFailure) return error;
      return "cancelled";
    });
  return {
    verdict,
    passed: () => checks,
    async stillOpen() {
      return (await Promise.race([verdict, Promise.resolve("open")])) === "open";
    },
    async stop() {
      environment.cancel("CANCELLED");
      await verdict;
    },
  };
}

/** A node that does not share our event loop. */
async function startNode(): Promise<{ url: string; kill: () => Promise<unknown> }> {
  const code = `
    const { createServer } = require("node:http");
    const { parentPort } = require("node:worker_threads");
    const server = createServer((request, response) => response.end("up"));
    server.keepAliveTimeout = 500;
    server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));`;
  const worker = new Worker(code, { eval: true });
  const [port] = await once(worker, "message");
  return { url: `http://127.0.0.1:${port}`, kill: () => worker.terminate() };
}

function failWith(code: string): typeof fetch {
  return () => Promise.reject(new TypeError("fetch failed", { cause: Object.assign(new Error(code), { code }) }));
}

describe("the watch over a node", () => {
  const realFetch = globalThis.fetch;
  afterEach(() => {
    globalThis.fetch = realFetch;
  });

  it("survives that this process hears nothing for 6 s, again and again; and still finds out when the node dies", async () => {
    const node = await startNode();
    const watching = watch({ config: configOf(node.url), source: rented(() => true) });
    await eventually("it has seen the node", () => watching.passed() > 0);
    for (let chunk = 0; chunk < 3; chunk += 1) {
      blockTheLoop(6000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.ok(await watching.stillOpen(), "it took the node for dead");
    const seen = watching.passed();
    await eventually("it sees the node again", () => watching.passed() > seen);
    await node.kill();
    assert.equal(await watching.verdict, "node node-1 does not answer");
  });

  for (const [code, answers, counts] of [
    ["ECONNREFUSED", true, true],
    ["ECONNREFUSED", false, false],
    ["ECONNRESET", true, true],
    ["UND_ERR_CONNECT_TIMEOUT", true, true],
    ["UND_ERR_CONNECT_TIMEOUT", false, false],
    ["ENOTFOUND", true, true],
    ["ENOTFOUND", false, false],
    ["EAI_AGAIN", false, false],
    ["EAI_AGAIN", true, false],
    ["ENETUNREACH", true, false],
    ["ENETDOWN", true, false],
    ["EHOSTUNREACH", true, false],
    ["EMFILE", true, false],
    ["ENOBUFS", true, false],
    ["EADDRNOTAVAIL", true, false],
  ] as const) {
    const others = answers ? "others answer" : "nobody answers";
    it(`holds ${code} ${counts ? "against the node" : "against itself"} while ${others}`, async () => {
      let asked = 0;
      globalThis.fetch = (...request) => {
        asked += 1;
        return failWith(code)(...request);
      };
      const watching = watch({ config: configOf("http://node.invalid"), source: rented(() => answers) });
      if (counts) {
        assert.equal(await watching.verdict, "node node-1 does not answer");
        assert.equal(asked, 3);
        return;
      }
      await eventually("it has asked often", () => asked > 10);
      assert.ok(await watching.stillOpen());
      await watching.stop();
    });
  }

  it("takes a node for dead that only this machine finds no way to, when that lasts", async () => {
    globalThis.fetch = failWith("EHOSTUNREACH");
    const watching = watch({ config: configOf("http://node.invalid"), source: rented(() => true), doubtMs: 100 });
    assert.equal(await watching.verdict, "node node-1 does not answer");
  });

  for (const [why, code] of [
    ["nothing can be reached", "ECONNREFUSED"],
    ["it has no files left", "EMFILE"],
  ] as const) {
    it(`is handed to another worker when this one could not tell for long, because ${why}`, async () => {
      globalThis.fetch = failWith(code);
      const watching = watch({ config: configOf("http://node.invalid"), source: rented(() => false), handOverMs: 100 });
      const verdict = await watching.verdict;
      assert.ok(verdict instanceof ApplicationFailure, String(verdict));
      assert.deepEqual([verdict.type, verdict.nonRetryable], ["WatcherUnwell", false]);
    });
  }

  it("is not cut off when another node that it watches answers, though the provider does not", async () => {
    globalThis.fetch = (input, init) =>
      String(input).includes("node-2") ? Promise.resolve(new Response("up")) : failWith("UND_ERR_SOCKET")(input, init);
    const config = configOf("http://{node}.invalid");
    const health = { config, source: rented(() => false) };
    const shared = createNodeHealth(health);
    const environment = new MockActivityEnvironment({}, { logger: quiet });
    const signal = () => Context.current().cancellationSignal;
    const second = environment
      .run(() => shared.watch("node-2", signal(), async () => undefined))
      .catch(() => "cancelled");
    const first = new MockActivityEnvironment({}, { logger: quiet });
    assert.equal(
      await first.run(() => shared.watch("node-1", signal(), async () => undefined)),
      "node node-1 does not answer",
    );
    environment.cancel("CANCELLED");
    await second;
  });

  it("waits for a node that starts while this machine cannot tell, and not longer", async () => {
    let answers = false;
    let asked = 0;
    globalThis.fetch = (...request) => {
      asked += 1;
      return failWith("ECONNREFUSED")(...request);
    };
    const health = createNodeHealth({ config: configOf("http://node.invalid"), source: rented(() => answers) });
    const ready = new MockActivityEnvironment({}, { logger: quiet }).run(() =>
      health.awaitUp("node-1", Date.now() - 1, Context.current().cancellationSignal),
    );
    await eventually("it has asked often", () => asked > 10);
    answers = true;
    assert.equal(await ready, false);
  });

  describe("of one's own", () => {
    const nodes = JSON.stringify([
      { name: "a", type: "media:fast", url: "http://a.invalid" },
      { name: "b", type: "media:fast", url: "http://b.invalid" },
    ]);
    const { answers: _none, ...own } = rented(() => false);
    const config = () => configOf("", { GPU_PROVIDER: "static", GPU_NODES: nodes, NODE_URL_TEMPLATE: "http://{node}" });

    for (const [code, counts] of [
      ["ECONNREFUSED", true],
      ["UND_ERR_CONNECT_TIMEOUT", false],
      ["EAI_AGAIN", false],
    ] as const) {
      it(`holds ${code} of all of them ${counts ? "against the node" : "against itself, for a while"}`, async () => {
        globalThis.fetch = failWith(code);
        const verdict = "node a does not answer";
        const patient = watch({ config: config(), source: own }, "a");
        if (counts) assert.equal(await patient.verdict, verdict);
        else {
          assert.ok(await patient.stillOpen());
          await patient.stop();
          assert.equal(await watch({ config: config(), source: own, doubtMs: 100 }, "a").verdict, verdict);
        }
      });
    }
  });
});
