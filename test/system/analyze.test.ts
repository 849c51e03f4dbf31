import assert from "node:assert/strict";
import type { Simulator } from "../../src/simulator/simulator.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const MODEL = "llama3.2-vision:11b";
const OTHER = "other-vision:1b";

describe("an analyze job, end to end", () => {
  let stack: TestStack;
  const sample = (name: string) => `${stack.simulator.url}/sim/files/${name}`;
  const hook = (name: string) => `${stack.simulator.url}/sim/hooks/${name}`;
  const runs = () => stack.simulator.renders().filter(({ kind }) => kind === "analyze");
  const fault = (wanted: Omit<Parameters<Simulator["fault"]>[0], "service">) =>
    stack.simulator.fault({ service: "ollama", times: 1, ...wanted });
  const analyze = (body: Record<string, unknown> = {}) =>
    stack.post("/analyze", { image_url: sample("portrait.jpg"), ...body });

  async function submit(body?: Record<string, unknown>): Promise<string> {
    const answer = await analyze(body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.deepEqual(answer.body, { id: answer.body.id, status: "queued" });
    return answer.body.id as string;
  }

  async function webhookOf(name: string): Promise<Record<string, unknown>> {
    const delivery = await eventually("the webhook", () => stack.simulator.received(name)[0]);
    return JSON.parse(delivery.body);
  }

  describe("with one vision node", () => {
    before(async () => {
      const env = { VISION_MODELS: `${MODEL}, ${OTHER}`, VISION_PULL: "true" };
      stack = await startTestStack({ env, gpu: { pools: { "ollama_webui:fast": { max: 1 } } } });
    });
    afterEach(() => {
      stack.simulator.clearFaults();
      stack.simulator.settings.renderSeconds = undefined;
    });
    after(() => stack.close());

    it("describes a picture: the text in the result and in the webhook, on an Ollama instance", async () => {
      const id = await submit({ notify_url: hook("described"), metadata: { order: 7 } });
      const view = await stack.untilState(id, "success");
      assert.deepEqual((await stack.get(`/status/${id}`)).body, { id, status: "success" });
      const { body } = await stack.get(`/result/${id}`);
      const { text } = body;
      assert.equal(
        text,
        '[simulated] You asked: "Describe this image in detail.". A JPEG picture of 640 × 480 pixels, mostly cyan and pink.',
      );
      assert.deepEqual(body, { id, status: "success", text, metadata: { order: 7 } });
      assert.deepEqual(await webhookOf("described"), { id, status: "success", text, metadata: { order: 7 } });
      const { body: job } = await stack.get(`/jobs/${id}`);
      assert.deepEqual(job.result, { text });
      const [file, ...others] = job.files as { url: string; mime_type: string }[];
      assert.deepEqual([file?.mime_type, others], ["text/plain; charset=utf-8", []]);
      assert.equal(await (await fetch(file!.url)).text(), text);
      assert.equal(view.gpu?.type, "ollama_webui:fast");
      assert.deepEqual(
        stack.simulator.instances().map(({ type }) => type),
        ["ollama_webui:fast"],
      );
      await stack.untilClosed(id);
      assert.deepEqual(await stack.storedInputs(id), []);
    });

    it("asks the model that is wanted, with the prompt that is given", async () => {
      await stack.untilState(await submit({ prompt: "  How many eyes?\nCount them. ", model: MODEL }), "success");
      const { model, prompt, images } = runs().at(-1)!.arguments;
      assert.deepEqual([model, prompt], [MODEL, "How many eyes?\nCount them."]);
      const [picture] = images as { format: string; width: number; height: number }[];
      assert.deepEqual([picture?.format, picture?.width, picture?.height], ["jpeg", 640, 480]);
    });

    it("lets the node pull a model that it lacks", async () => {
      const id = await submit({ model: OTHER });
      await stack.untilState(id, "success");
      assert.equal(runs().at(-1)!.arguments.model, OTHER);
      const pulls = () => stack.simulator.calls().filter(({ path }) => path.endsWith("/api/pull")).length;
      assert.equal(pulls(), 1);
      await stack.untilState(await submit({ model: OTHER }), "success");
      assert.equal(pulls(), 1, "the node has it now");
    });

    it("takes no model that the operator does not offer", async () => {
      const { status, body } = await analyze({ model: "unknown:1b" });
      assert.equal(status, 400);
      assert.deepEqual(Object.keys(body.errors as object), ["model"]);
    });

    for (const [what, wanted, runsMade] of [
      ["an answer that ends early", { action: "end_stream_early" }, 2],
      ["a node that is busy", { action: "status", path: "/api/generate", status: 503 }, 1],
    ] as const) {
      it(`asks again after ${what}`, async () => {
        const before = runs().length;
        fault(wanted);
        const id = await submit();
        assert.equal((await stack.untilState(id, "success")).attempts, 1);
        const { text } = (await stack.get(`/result/${id}`)).body;
        assert.match(text as string, /^\[simulated\] .* mostly cyan and pink\.$/);
        assert.equal(runs().length - before, runsMade);
      });
    }

    it("stops the model when it is cancelled while it answers; the node is free for the next one", async () => {
      stack.simulator.settings.renderSeconds = 30;
      const before = runs().length;
      const id = await submit();
      const cancelled = await eventually("it answers", () => runs()[before]);
      await stack.post(`/job/${id}`, { status: "cancelled" });
      assert.equal((await stack.get(`/status/${id}`)).body.status, "cancelled");
      stack.simulator.settings.renderSeconds = undefined;
      await stack.untilState(await submit(), "success");
      assert.equal(await stack.untilClosed(id), "CANCELLED");
      assert.equal(cancelled.outcome, "interrupted");
      const following = runs().at(-1)!;
      assert.equal(following.node, cancelled.node);
      assert.ok(following.startedAt >= (cancelled.finishedAt ?? Number.POSITIVE_INFINITY));
      assert.equal(stack.simulator.instances().length, 1, "one instance did all of it");
    });

    it("fails when the model fails in the middle of its answer", async () => {
      fault({ action: "render_error" });
      const before = runs().length;
      const id = await submit({ notify_url: hook("error") });
      const { error } = await stack.untilState(id, "failed");
      assert.match(error ?? "", /^the model failed: an error was encountered while running the model/);
      assert.equal(runs().length - before, 1);
      assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
      assert.deepEqual(await webhookOf("error"), { id, status: "failed", error });
    });
  });

  describe("on a node without the model", () => {
    before(async () => {
      stack = await startTestStack();
      stack.simulator.settings.visionModels = [];
    });
    after(() => stack.close());

    it("fails with a sentence that names the model, and the node is not blamed for it", async () => {
      const id = await submit();
      const { error } = await stack.untilState(id, "failed");
      assert.equal(error, `the model ${MODEL} is not on the node (VISION_PULL=true lets it be downloaded)`);
      assert.equal(await stack.untilClosed(id), "FAILED");
      await stack.untilState(await submit(), "failed");
      assert.equal(stack.simulator.instances().length, 1);
    });
  });

  describe("on another pool, by configuration alone", () => {
    before(async () => {
      stack = await startTestStack({ env: { VISION_POOL: "media:large" } });
    });
    after(() => stack.close());

    it("asks that pool for a GPU", async () => {
      const id = await submit();
      const { gpu } = await stack.untilState(id, "running");
      assert.equal(gpu?.type, "media:large");
      assert.deepEqual(
        stack.simulator.instances().map(({ type }) => type),
        ["media:large"],
      );
      // There is no Ollama on such a node of the simulator; the job waits for it.
      await stack.post(`/job/${id}`, { status: "cancelled" });
      assert.equal(await stack.untilClosed(id), "CANCELLED");
    });
  });
});
