import assert from "node:assert/strict";
import { releaseInstances } from "../../src/dev/instances.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";
import { startWorkerProcess } from "../support/workerProcess.ts";

const TYPE = "media:fast";
type Fault = Parameters<TestStack["simulator"]["fault"]>[0];
type Trouble = { state: string; message?: string; reason?: string; since: string };

describe("a provider that gives no instances", () => {
  let stack: TestStack;
  let metricsUrl: string;
  before(async () => {
    const port = await freePort(0, "metrics", () => {});
    metricsUrl = `http://127.0.0.1:${port}/metrics`;
    stack = await startTestStack({ env: { METRICS_PORT: String(port) }, timeoutMs: 1000 });
  });
  afterEach(async () => {
    stack.simulator.clearFaults();
    await setBalance(1000);
    await eventually("all is well", async () => (await up()) === 'c3_render_provider_up{reason="ok"} 1');
  });
  after(() => stack.close());

  const calls = (path = "") =>
    stack.simulator.calls().filter((call) => call.service === "comput3" && call.path.endsWith(path));
  const fault = (fault: Omit<Fault, "service">) => stack.simulator.fault({ service: "comput3", ...fault });
  const up = async () =>
    (await (await fetch(metricsUrl)).text()).split("\n").find((line) => line.startsWith("c3_render_provider_up"));
  async function setBalance(balance: number): Promise<void> {
    const { comput3Url, apiKey } = stack.simulator;
    const headers = { "Content-Type": "application/json", "X-C3-API-KEY": apiKey };
    await fetch(`${comput3Url}/balance`, { method: "POST", headers, body: JSON.stringify({ balance }) });
  }
  const withoutGpus = () => releaseInstances(stack.client, () => {}, 45_000).then(() => resume());
  async function resume(): Promise<void> {
    await fetch(`${stack.apiUrl}/pools/${TYPE}`, {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ paused: false }),
    });
  }
  const untilTold = (id: string) =>
    eventually("the job is told", async () => {
      const { body } = await stack.get(`/status/${id}`);
      return body.waiting_for === "provider_unavailable" ? body : undefined;
    });

  for (const [what, state, wrong, reason] of [
    ["refuses the key", "refused", () => fault({ action: "status", status: 401 }), /answered 401/],
    ["forbids everything", "refused", () => fault({ action: "status", status: 403 }), /answered 403/],
    ["has no money of ours", "no_balance", () => setBalance(0), /answered (402: .*Insufficient balance|0)/],
    [
      "does not launch for want of money",
      "no_balance",
      () => fault({ action: "status", status: 402, path: "/launch" }),
      /answered 402/,
    ],
    [
      "answers with pages",
      "unreachable",
      () => fault({ action: "html_error" }),
      /answered 503: 503 Service Unavailable/,
    ],
    ["does not answer", "unreachable", () => fault({ action: "hang" }), /could not be reached/],
    ["cuts the line", "unreachable", () => fault({ action: "reset" }), /could not be reached/],
  ] as const) {
    it(`which ${what}: whoever waits is told, and the job runs when it is well again`, async () => {
      await withoutGpus();
      const launchesBefore = calls("/launch").length;
      await wrong();
      const id = await stack.submit({ text: `It ${what}.` });
      const told = await untilTold(id);
      assert.equal("eta_seconds" in told, false, "a time is made up");
      assert.match(String(told.waiting_reason), reason);
      // A pool that does not answer within a second is not waited for.
      const document = await eventually("the document of the job tells", async () => {
        const { body } = await stack.get(`/jobs/${id}`);
        return body.waiting_for === undefined ? undefined : body;
      });
      assert.deepEqual([document.waiting_for, document.waiting_reason], [told.waiting_for, told.waiting_reason]);

      const pool = (await stack.get(`/pools/${TYPE}`)).body as { provider: Trouble; queue: Record<string, unknown>[] };
      assert.equal(pool.provider.state, state);
      assert.match(pool.provider.reason ?? "", reason);
      assert.equal("eta_seconds" in pool.queue[0]!, false);

      const ready = await eventually("it is in what is said of readiness", async () => {
        const { status, body } = await stack.get("/readyz");
        return body.provider === undefined ? undefined : { status, body };
      });
      const { state: shown, message = "", ...rest } = ready.body.provider as Trouble;
      assert.deepEqual([ready.status, ready.body.status, shown, Object.keys(rest)], [200, "ok", state, ["since"]]);
      const strict = await stack.get("/readyz?strict=1");
      assert.deepEqual([strict.status, strict.body.code, strict.body.missing], [503, "not_ready", [message]]);
      await eventually("the metric tells", async () => (await up()) === `c3_render_provider_up{reason="${state}"} 0`);

      if (state !== "unreachable") {
        const launches = calls("/launch").length;
        const looks = calls("/balance").length;
        await eventually("the reconciler has looked twice", () => calls("/balance").length >= looks + 2);
        // Those that are refused although there is money are tried ever more seldom.
        assert.ok(launches - launchesBefore <= 8, `${launches - launchesBefore} launches were tried`);
      }
      stack.simulator.clearFaults();
      await setBalance(1000);
      await stack.untilState(id, "success");
      await eventually("nothing is left of it", async () => {
        const { status, body } = await stack.get("/readyz?strict=1");
        return status === 200 && body.provider === undefined;
      });
      assert.equal((await stack.get(`/pools/${TYPE}`)).body.provider, undefined);
    });
  }

  it("keeps no stop waiting: a launch that was refused has left nothing to be stopped", async () => {
    await withoutGpus();
    fault({ action: "status", status: 401 });
    const id = await stack.submit({ text: "Refused." });
    await untilTold(id);
    const startedAt = performance.now();
    await releaseInstances(stack.client, () => {}, 45_000);
    assert.ok(performance.now() - startedAt < 10_000);
    stack.simulator.clearFaults();
    await resume();
    await stack.untilState(id, "success");
  });

  it("is known before anybody asks for a GPU", async () => {
    await withoutGpus();
    fault({ action: "status", status: 401 });
    await eventually("it is not ready", async () => {
      const { status, body } = await stack.get("/readyz?strict=1");
      return status === 503 && String(body.error).includes("the GPU provider refuses the key (C3_API_KEY)");
    });
    await eventually("it is ready for submissions", async () => (await stack.get("/readyz")).status === 200);
  });
});

describe("a worker whose key is wrong", () => {
  it("says so at its start and works on; a restart with the right key does what waited", async function () {
    this.timeout(120_000);
    const stack = await startTestStack({ withoutWorker: true });
    const { config } = stack;
    const wrong = await startWorkerProcess({ ...config, comput3: { ...config.comput3, apiKey: "a-wrong-key" } });
    await eventually("it says so", () => wrong.output().includes("The GPU provider refuses the key (C3_API_KEY)"));
    assert.ok(!wrong.output().includes("a-wrong-key"), "the key is told");
    await eventually("it is not ready", async () => (await stack.get("/readyz?strict=1")).status === 503);
    const id = await stack.submit({ text: "With the wrong key." });
    await eventually("the job is told", async () => {
      const { waiting_for, eta_seconds } = (await stack.get(`/status/${id}`)).body;
      return waiting_for === "provider_unavailable" && eta_seconds === undefined;
    });
    await wrong.stop();
    const right = await startWorkerProcess(config);
    await stack.untilState(id, "success");
    // The instance is stopped by the worker.
    await stack.close();
    await right.stop();
  });
});
