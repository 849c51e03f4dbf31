import assert from "node:assert/strict";
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
