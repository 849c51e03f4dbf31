import assert from "node:assert/strict";
import { type Simulator, startSimulator } from "../../../src/simulator/simulator.ts";
import { eventually } from "../../support/eventually.ts";

describe("the simulated Comput3", () => {
  let simulator: Simulator;
  beforeEach(async () => {
    simulator = await startSimulator({ launchSeconds: 0.2, ratePerHour: 3600 });
  });
  afterEach(() => simulator.close());

  const headers = { "X-C3-API-KEY": "simulator", "Content-Type": "application/json" };
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    fetch(`${simulator.comput3Url}${path}`, { method: "POST", headers, body: JSON.stringify(body), ...init });
  const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
  const launch = async (expires: number) =>
    (await (await post("/launch", { type: "media:fast", expires })).json()) as { node: string; workload: string };
  const fault = (body: unknown) =>
    fetch(`${simulator.url}/sim/faults`, { method: "POST", headers, body: JSON.stringify(body) });

  it("wants the key, a known type and an end in the future", async () => {
    assert.equal((await post("/workloads", {}, { headers: {} })).status, 401);
    assert.equal((await post("/launch", { type: "media:huge", expires: inSeconds(60) })).status, 422);
    assert.equal((await post("/launch", { type: "media:fast", expires: inSeconds(-1) })).status, 422);
    assert.equal((await post("/launch", {})).status, 422);
    assert.equal((await post("/stop", { workload: "none" })).status, 404);
  });

  it("launches nothing for an account that is empty, until somebody pays", async () => {
    const balance = async () => (await fetch(`${simulator.comput3Url}/balance`, { headers })).json();
    await post("/balance", { balance: 0 });
    assert.deepEqual(await balance(), { balance: 0 });
    const body = { type: "media:fast", expires: inSeconds(60) };
    assert.equal((await post("/launch", body)).status, 402);
    await post("/balance", { balance: 5 });
    assert.equal((await post("/launch", body)).status, 200);
    assert.equal((await post("/balance", {})).status, 422);
  });

  it("launches as often as it is asked, bills by the second, and refunds the rest", async () => {
    const expires = inSeconds(3600);
    const first = await launch(expires);
    const second = await launch(expires);
    assert.notEqual(first.workload, second.workload, "there is no idempotency key");
    const listed = (await (await post("/workloads", { running: true })).json()) as {
      expires: number;
      running: boolean;
    }[];
    assert.deepEqual(
      listed.map((instance) => [instance.expires, instance.running]),
      Array(2).fill([expires, true]),
    );
    const stopped = (await (await post("/stop", { workload: first.workload })).json()) as { refund_amount: number };
    const [instance] = simulator.instances();
    assert.equal(stopped.refund_amount, 3600 - instance!.billedSeconds);
    assert.equal(instance!.why, "stopped");
  });

  it("boots its nodes, which then answer those who have the key, and ends them at their time", async () => {
    const { node } = await launch(inSeconds(2));
    const url = `${simulator.url}/nodes/${node}/`;
    assert.equal((await fetch(url, { headers })).status, 502);
    await eventually("the node is up", async () => ((await fetch(url, { headers })).status === 200 ? true : undefined));
    assert.equal((await fetch(url)).status, 401);
    await eventually("the node has ended", () =>
      fetch(url, { headers }).then(
        () => undefined,
        () => true,
      ),
    );
    assert.equal(simulator.instances()[0]?.why, "expired");
  });

  it("fails on demand, as often as it is told, and where", async () => {
    assert.equal((await fault({ service: "nobody", action: "status" })).status, 400);
    assert.equal(
      (await fault({ service: "comput3", path: "/types", action: "status", status: 500, times: 2 })).status,
      201,
    );
    const types = () => fetch(`${simulator.comput3Url}/types`, { headers });
    assert.equal((await post("/workloads", {})).status, 200);
    assert.deepEqual([(await types()).status, (await types()).status, (await types()).status], [500, 500, 200]);
    await fault({ service: "comput3", action: "html_error" });
    assert.match((await types()).headers.get("content-type") ?? "", /html/);
    await fetch(`${simulator.url}/sim/faults`, { method: "DELETE" });
    assert.equal((await types()).status, 200);
    for (const action of ["drop_reply", "reset", "truncate"]) {
      await fault({ service: "comput3", action, times: 1 });
      await assert.rejects(
        types().then((response) => response.json()),
        action,
      );
    }
  });

  it("does the work of a reply that it drops", async () => {
    await fault({ service: "comput3", path: "/launch", action: "drop_reply", times: 1 });
    await assert.rejects(launch(inSeconds(60)));
    assert.equal(simulator.instances().length, 1);
  });

  it("keeps a killed node in the list, and a vanished one not", async () => {
    const killed = await launch(inSeconds(60));
    const vanished = await launch(inSeconds(60));
    await fault({ service: "node", action: "kill_node", node: killed.node });
    await fault({ service: "node", action: "vanish", node: vanished.node });
    const listed = (await (await post("/workloads", {})).json()) as { node: string }[];
    assert.deepEqual(
      listed.map(({ node }) => node),
      [killed.node],
    );
    await assert.rejects(fetch(`${simulator.url}/nodes/${killed.node}/`, { headers }));
  });

  it("receives webhooks, refusing as many as it is told to, and serves files", async () => {
    const hook = `${simulator.url}/sim/hooks/mine?fail=1`;
    const deliver = async () => (await fetch(hook, { method: "POST", body: '{"id": 1}' })).status;
    assert.deepEqual([await deliver(), await deliver()], [503, 200]);
    const received = (await (await fetch(`${simulator.url}/sim/hooks/mine`)).json()) as { body: string }[];
    assert.deepEqual(
      received.map(({ body }) => body),
      ['{"id": 1}', '{"id": 1}'],
    );
    await fetch(`${simulator.url}/sim/files/mine.txt`, { method: "POST", body: "hello" });
    assert.equal(await (await fetch(`${simulator.url}/sim/files/mine.txt`)).text(), "hello");
    assert.equal((await fetch(`${simulator.url}/sim/files/none.txt`)).status, 404);
    assert.equal((await fetch(`${simulator.url}/sim/files/..%2F..%2Fetc%2Fpasswd`)).status, 404);
  });
});
