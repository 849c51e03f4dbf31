import assert from "node:assert/strict";
import type { Simulator } from "../../src/simulator/simulator.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

type Fault = Parameters<Simulator["fault"]>[0];

describe("trouble with a node", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack();
  });
  afterEach(() => stack.simulator.clearFaults());
  after(() => stack.close());

  const renderWith = async (text: string, fault: Omit<Fault, "service">) => {
    const before = stack.simulator.renders().length;
    stack.simulator.fault({ service: "csm", ...fault });
    const id = await stack.submit({ text });
    return { id, renders: () => stack.simulator.renders().length - before };
  };
  const FILE = "file=";

  for (const fault of [
    { action: "truncate", path: FILE },
    { action: "wrong_mime", path: FILE },
    { action: "status", path: FILE, status: 503 },
    { action: "reset", path: FILE },
  ] as const) {
    it(`while the result is fetched (${fault.action}): it is fetched again, and not rendered again`, async () => {
      const { id, renders } = await renderWith(`Fetched again after ${fault.action}.`, { ...fault, times: 2 });
      const view = await stack.untilState(id, "success");
      assert.equal(renders(), 1);
      const { body } = await stack.get(`/result/${id}`);
      const file = await fetch(body.result_url as string);
      assert.equal((await file.arrayBuffer()).byteLength, view.files[0]?.bytes);
    });
  }

  for (const fault of [
    { action: "end_stream_early" },
    { action: "status", path: "/queue/join", status: 503 },
    { action: "html_error", path: "/queue/join" },
    { action: "reset", path: "/queue/data" },
  ] as const) {
    it(`while it is asked to render (${fault.action}): it is asked again`, async () => {
      const { id } = await renderWith(`Asked again after ${fault.action}.`, { ...fault, times: 1 });
      assert.equal((await stack.untilState(id, "success")).attempts, 1);
    });
  }

  it("a result that is not there: it is made once more", async () => {
    const { id, renders } = await renderWith("Made again.", { action: "status", path: FILE, status: 403, times: 1 });
    assert.equal((await stack.untilState(id, "success")).attempts, 1);
    assert.equal(renders(), 2);
  });

  it("a result that is not there again: the job fails and says so", async () => {
    const { id, renders } = await renderWith("Lost.", { action: "status", path: FILE, status: 404 });
    const error = "the node answered 404 for the result";
    assert.equal((await stack.untilState(id, "failed")).error, error);
    assert.deepEqual((await stack.get(`/result/${id}`)).body, { id, status: "failed", error });
    assert.equal(renders(), 2);
  });
});
