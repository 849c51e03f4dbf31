import assert from "node:assert/strict";
import type { LedgerEntry } from "../../src/gpus/types.ts";
import type { JobView } from "../../src/jobs/job.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

/** A second of an instance costs one. */
const RATE = 3600;

describe("the ledger", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({
      env: { GPU_POOLS: JSON.stringify({ "media:fast": { max: 2, rate: RATE }, "ollama_webui:fast": { max: 1 } }) },
      simulator: { ratePerHour: RATE, launchSeconds: 1 },
      gpu: { idleTimeoutMs: 1000 },
      renderSeconds: 0.5,
    });
  });
  after(() => stack.close());

  const entries = async () => {
    const store = createObjectStore(stack.config.storage, "");
    const found: LedgerEntry[] = [];
    for await (const { key } of store.list("ledger/")) {
      const { body } = await store.get(key);
      found.push(JSON.parse(Buffer.concat(await body.toArray()).toString()));
    }
    return found;
  };
  const untilAllAreWrittenDown = () =>
    eventually("every instance is written down", async () => {
      const instances = stack.simulator.instances();
      const ended = instances.every((instance) => instance.ended !== undefined);
      const written = ended ? await entries() : [];
      return written.length === instances.length ? written : undefined;
    });
  const sum = (numbers: (number | undefined)[]) => numbers.reduce<number>((total, one) => total + (one ?? 0), 0);
  const charged = ({ usage }: JobView) => sum([usage?.bootMs, usage?.idleMs, usage?.busyMs]) / 1000;

  it("agrees with the provider's bill, and the jobs' shares add up to it", async () => {
    const views: JobView[] = [];
    for (const text of ["The first.", "The second."])
      views.push(await stack.untilState(await stack.submit({ text }), "success"));
    const [written] = await untilAllAreWrittenDown();
    const [billed] = stack.simulator.instances();
    assert.ok(written !== undefined && billed !== undefined);
    assert.equal(written.workload, billed.workload);
    assert.equal(written.paidSeconds, billed.billedSeconds);
    assert.equal(written.cost, written.paidSeconds);
    assert.equal(written.refundAmount, billed.refundAmount);
    assert.equal(written.jobs, 2);
    const parts = written.bootSeconds + written.busySeconds + written.idleSeconds;
    assert.ok(Math.abs(parts - written.paidSeconds) < 0.001, `${parts} of ${written.paidSeconds}`);
    const [first, second] = views;
    assert.ok((first?.usage?.bootMs ?? 0) > 0 && second?.usage?.bootMs === 0, "the first job is charged the boot");
    assert.equal(sum(views.map((view) => view.usage?.busyMs)) / 1000, written.busySeconds);
    // What follows the last job is nobody's.
    const tail = written.paidSeconds - sum(views.map(charged));
    assert.ok(tail > 0 && tail <= written.idleSeconds, String(tail));
    const { body } = await stack.get(`/jobs/${views[0]?.id}`);
    const cost = body.cost as { gpu_seconds: { total: number }; amount: number };
    assert.ok(Math.abs(cost.amount - cost.gpu_seconds.total) < 0.001, JSON.stringify(cost));
  });

  it("counts seconds and no money where the rate is not known", async () => {
    const image_url = `${stack.simulator.url}/sim/files/portrait.jpg`;
    const { body } = await stack.post("/analyze", { image_url });
    const id = body.id as string;
    await stack.untilState(id, "success");
    const document = (await stack.get(`/jobs/${id}`)).body;
    const cost = document.cost as { gpu_seconds: { busy: number }; amount?: number };
    assert.ok(cost.gpu_seconds.busy > 0);
    assert.equal(cost.amount, undefined);
    const written = (await untilAllAreWrittenDown()).find(({ type }) => type === "ollama_webui:fast");
    assert.ok(written !== undefined && written.cost === undefined && written.busySeconds > 0);
  });

  it("has the second instance of a launch whose answer was lost", async () => {
    const before = (await entries()).length;
    stack.simulator.fault({ service: "comput3", path: "/launch", action: "drop_reply", times: 1 });
    stack.simulator.fault({ service: "comput3", path: "/workloads", action: "status", times: 1 });
    await stack.untilState(await stack.submit({ text: "Paid for, whatever the answer." }), "success");
    const written = await untilAllAreWrittenDown();
    const total = sum(written.map(({ paidSeconds }) => paidSeconds));
    assert.equal(total, sum(stack.simulator.instances().map(({ billedSeconds }) => billedSeconds)));
    assert.ok(written.length > before);
  });

  for (const [what, end] of [
    ["though the answer to the stop is lost", { path: "/stop", action: "drop_reply", times: 1 }],
    ["though the instance vanished with it", { action: "vanish" }],
  ] as const) {
    it(`has the instance of a manager that was terminated, ${what}`, async () => {
      stack.simulator.settings.renderSeconds = 2;
      const id = await stack.submit({ text: "Its manager is terminated." });
      const gpu = await eventually("it renders", async () => (await stack.view(id)).gpu);
      const service = end.action === "vanish" ? "node" : "comput3";
      stack.simulator.fault({ service, ...end, ...(service === "node" && { node: gpu.node }) });
      await stack.client.workflow.getHandle(gpu.id).terminate("an operator's test");
      stack.simulator.settings.renderSeconds = 0.5;
      await stack.untilState(id, "success");
      const written = await untilAllAreWrittenDown();
      assert.equal(written.filter(({ node }) => node === gpu.node).length, 1);
    });
  }
});
