import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Comput3Error, createComput3, nodeIsUp } from "../../src/clients/comput3.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";

const KEY = "a-key-that-must-not-be-told";

describe("the client of Comput3", () => {
  let simulator: Simulator;
  before(async () => {
    simulator = await startSimulator({ launchSeconds: 0, apiKey: KEY, ratePerHour: 3600 });
  });
  after(() => simulator.close());
  afterEach(() => simulator.clearFaults());

  const client = (options = {}) => createComput3({ apiUrl: simulator.comput3Url, apiKey: KEY, ...options });
  const expires = () => Math.floor(Date.now() / 1000) + 3600;
  const failure = async (call: Promise<unknown>) => {
    const error = await call.catch((caught: unknown) => caught);
    assert.ok(error instanceof Comput3Error, String(error));
    assert.ok(!JSON.stringify([error.message, error.stack]).includes(KEY), "the key is told");
    return error;
  };

  it("launches, lists and stops, with the refund", async () => {
    const wanted = expires();
    const { workload, node } = await client().launch({ type: "media:fast", expires: wanted });
    const [listed] = await client().runningWorkloads();
    assert.deepEqual({ ...listed, created: 0 }, { workload, node, type: "media:fast", created: 0, expires: wanted });
    const { refundAmount = 0 } = await client().stop(workload);
    assert.ok(refundAmount > 3500 && refundAmount <= 3600, String(refundAmount));
    assert.deepEqual(await client().runningWorkloads(), []);
    assert.deepEqual(await client().stop(workload), {}, "what is not there any more is stopped");
    assert.ok((await client().types()).includes("media:fast"));
    assert.ok((await client().balance()) > 0);
  });

  it("keeps of an HTML page no more than its words", async () => {
    simulator.fault({ service: "comput3", action: "html_error", times: 1 });
    const error = await failure(client().runningWorkloads());
    assert.equal(error.status, 503);
    assert.equal(error.message, "Comput3 /workloads answered 503: 503 Service Unavailable Error");
  });

  it("says when the key is wrong, the answer strange, or nobody there", async () => {
    assert.equal((await failure(client({ apiKey: "wrong" }).balance())).status, 401);
    simulator.fault({ service: "comput3", action: "wrong_mime", times: 1 });
    assert.match((await failure(client().balance())).message, /something else than expected/);
    assert.match(
      (await failure(client({ apiUrl: "http://127.0.0.1:1/api/v0" }).balance())).message,
      /could not be reached/,
    );
  });

  const stub = (status: number, body: string) => async (path: "balance" | "launch") => {
    const server = createServer((_, response) => response.writeHead(status).end(body)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { balance, launch } = client({ apiUrl: `http://127.0.0.1:${port}` });
    const error = await failure(path === "balance" ? balance() : launch({ type: "media:fast", expires: expires() }));
    server.close();
    return error.kind;
  };

  for (const [status, body, kind] of [
    [401, `{"detail": "Invalid API key"}`, "refused"],
    [403, `{"detail": "Forbidden"}`, "refused"],
    [403, `{"detail": "insufficient permissions"}`, "refused"],
    [403, `<html>Forbidden</html>`, "refused"],
    [402, "", "no_balance"],
    [403, `{"detail": "Insufficient balance"}`, "no_balance"],
    [400, `{"error": "Not enough credits"}`, "no_balance"],
    [400, `{"error": "insufficient_funds"}`, "no_balance"],
    [200, `{"error": "Your balance is too low"}`, "no_balance"],
    [422, `{"detail": "unknown type media:huge"}`, "failing"],
    [409, `{"detail": "insufficient capacity"}`, "failing"],
    [429, `{"detail": "slow down"}`, "failing"],
    [200, `{"nothing": true}`, "failing"],
    [503, `{"detail": "busy"}`, "unreachable"],
    [502, `<html>the load balancer has no balance</html>`, "unreachable"],
    [200, `<!DOCTYPE html><html>Just a moment</html>`, "unreachable"],
  ] as const) {
    it(`knows what kind of failure a launch that is answered ${status} ${body} is: ${kind}`, async () => {
      assert.equal(await stub(status, body)("launch"), kind);
    });
  }

  it("reads nothing about money into a balance that it does not understand", async () => {
    assert.equal(await stub(200, `{"balance": null}`)("balance"), "failing");
  });

  it("takes it as unreachable when nobody answers", async () => {
    assert.equal((await failure(client({ apiUrl: "http://127.0.0.1:1/api/v0" }).balance())).kind, "unreachable");
    simulator.fault({ service: "comput3", action: "reset", times: 1 });
    assert.equal((await failure(client().balance())).kind, "unreachable");
  });

  it("does not wait longer than its timeout", async () => {
    simulator.fault({ service: "comput3", action: "hang", times: 1 });
    assert.match((await failure(client({ timeoutMs: 100 }).balance())).message, /could not be reached/);
  });

  it("knows whether a node is up", async () => {
    const { node } = await client().launch({ type: "media:fast", expires: expires() });
    const url = simulator.nodeUrlTemplate.replace("{node}", node);
    assert.equal(await nodeIsUp(url, KEY), true);
    assert.equal(await nodeIsUp(url, "wrong"), false);
    simulator.fault({ service: "node", action: "status", times: 1 });
    assert.equal(await nodeIsUp(url, KEY), false);
    simulator.fault({ service: "node", action: "kill_node", node });
    assert.equal(await nodeIsUp(url, KEY), false);
  });
});
