import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ids } from "../../src/contracts/names.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

describe("a cancel", () => {
  let stack: TestStack;
  /** Files of the simulator, when `hand` says so. */
  const slow = createServer((request, response) => {
    asked.emit("input", () =>
      fetch(`${stack.simulator.url}/sim/files${request.url}`).then(async (answer) =>
        response.end(Buffer.from(await answer.arrayBuffer())),
      ),
    );
  });
  const asked = new EventEmitter();
  const origin = () => `http://127.0.0.1:${(slow.address() as AddressInfo).port}`;
  before(async () => {
    await once(slow.listen(0, "127.0.0.1"), "listening");
    const env = { TRUSTED_ORIGINS: origin() };
    stack = await startTestStack({ gpu: { pools: { "media:fast": { max: 1 } } }, renderSeconds: 3, env });
  });
  after(async () => {
    await stack.close();
    await once(slow.close(), "close");
  });

  const cancel = (id: string) => stack.post(`/job/${id}`, { status: "cancelled" });
  const untilRendering = (id: string, renders: number) =>
    eventually(`job ${id} renders`, async () => {
      const { stage } = await stack.view(id);
      return stage === "rendering" && stack.simulator.renders().length > renders;
    });

  it("shows at once while the job renders; its GPU is lent again only after the run has ended", async () => {
    const count = stack.simulator.renders().length;
    const id = await stack.submit();
    await untilRendering(id, count);
    const answer = await cancel(id);
    assert.deepEqual(answer, { status: 200, body: { message: `Job ${id} marked as cancelled` } });
    assert.equal((await stack.get(`/status/${id}`)).body.status, "cancelled");
    const cancelled = stack.simulator.renders().at(-1);
    assert.equal(cancelled?.finishedAt, undefined, "the node still renders");

    const next = await stack.submit({ text: "The next one." });
    await stack.untilState(next, "success");
    assert.equal(await stack.untilClosed(id), "CANCELLED");
    const following = stack.simulator.renders().at(-1);
    assert.ok((following?.startedAt ?? 0) >= (cancelled?.finishedAt ?? Infinity), "two runs shared the GPU");
    assert.equal(following?.node, cancelled?.node);
    assert.equal(stack.simulator.instances().length, 1);
  });

  it("takes a waiting job out of the queue", async () => {
    const count = stack.simulator.renders().length;
    const holder = await stack.submit();
    await untilRendering(holder, count);
    const id = await stack.submit({ text: "Never spoken." });
    await eventually("it waits", async () => (await stack.view(id)).stage === "waiting");
    assert.equal((await cancel(id)).status, 200);
    assert.equal(await stack.untilClosed(id), "CANCELLED");
    await stack.untilState(holder, "success");
    assert.equal(stack.simulator.renders().length, count + 1);
  });

  it("is not undone by a download that succeeds all the same", async () => {
    const requested = once(asked, "input");
    const { body } = await stack.post("/jobs", {
      image_url: `${origin()}/portrait.jpg`,
      audio_url: `${stack.simulator.url}/sim/files/voice.wav`,
    });
    const id = body.job_id as string;
    const [hand] = await requested;
    await cancel(id);
    await hand();
    assert.equal(await stack.untilClosed(id), "CANCELLED");
    assert.equal((await stack.view(id)).state, "cancelled");
    assert.equal(stack.simulator.renders().filter(({ kind }) => kind === "lipsync").length, 0);
  });

  it("may come at any moment: no GPU stays with a job that is over", async () => {
    stack.simulator.settings.renderSeconds = 0;
    for (let job = 0; job < 15; job += 1) await cancel(await stack.submit({ text: "Never mind." }));
    // The lease of a job that forgot its GPU would run out only after three minutes.
    await stack.untilState(await stack.submit({ text: "The next one." }), "success");
    assert.equal(stack.simulator.instances().length, 1);
    stack.simulator.settings.renderSeconds = 3;
  });

  it("comes too late for a job that ended, and says so", async () => {
    const id = await stack.submit();
    await stack.untilState(id, "success");
    assert.deepEqual(await cancel(id), { status: 200, body: { message: `Job ${id} already success` } });
  });

  it("may come from the Temporal Web UI", async () => {
    const count = stack.simulator.renders().length;
    const id = await stack.submit({
      text: "Cancelled in Temporal.",
      notify_url: `${stack.simulator.url}/sim/hooks/ui`,
    });
    await untilRendering(id, count);
    await stack.client.workflow.getHandle(ids.job(id)).cancel();
    await stack.untilState(id, "cancelled");
    assert.equal(await stack.untilClosed(id), "CANCELLED");
    await eventually("the webhook", () => stack.simulator.received("ui").length > 0);
    assert.equal(JSON.parse(stack.simulator.received("ui")[0]!.body).status, "cancelled");
  });

  for (const status of ["timed_out", "failed"]) {
    it(`may be a client's ${status}, with its own words`, async () => {
      const count = stack.simulator.renders().length;
      const id = await stack.submit({ text: `Marked as ${status}.` });
      await untilRendering(id, count);
      const { body } = await stack.post(`/job/${id}`, { status, error: "the client gave up" });
      assert.equal(body.message, `Job ${id} marked as ${status}`);
      const view = await stack.untilState(id, status);
      assert.equal(view.error, "the client gave up");
      assert.equal(await stack.untilClosed(id), "FAILED");
    });
  }
});
