import assert from "node:assert/strict";
import { startWorker } from "../../src/workers/worker.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";
import { startS3, type TestS3 } from "../support/versitygw.ts";

async function fetchAll(url: unknown): Promise<Response> {
  const response = await fetch(String(url));
  assert.ok((await response.arrayBuffer()).byteLength > 0);
  return response;
}

describe("what happens when a worker is stopped by SIGTERM", () => {
  it("it hands over what it does: the render goes on elsewhere, the instance is kept and watched", async () => {
    const stack = await startTestStack({ withoutWorker: true, renderSeconds: 12 });
    const bundle = await bundleWorkflows();
    const first = await startWorker(stack.config, bundle, process.env);
    const id = await stack.submit();
    await eventually("it renders", () => stack.simulator.renders().length === 1);
    const other = await startWorker(stack.config, bundle, process.env);
    stack.simulator.settings.renderSeconds = 0;
    await first.stop();
    assert.equal((await stack.untilState(id, "success")).attempts, 1);
    const [instance, ...more] = stack.simulator.instances();
    assert.deepEqual([instance?.ended, more], [undefined, []]);
    stack.simulator.fault({ service: "node", action: "kill_node", node: instance!.node });
    await eventually("it is noticed", () => stack.simulator.instances()[0]?.why === "stopped");
    await stack.close();
    await other.stop();
  });
});

describe("what happens when S3 stalls", () => {
  let s3: TestS3;
  let stack: TestStack;
  before(async function () {
    const started = await startS3();
    if (started === undefined) return this.skip();
    s3 = started;
    const { endpoint, accessKey, secretKey, bucket } = s3.s3;
    stack = await startTestStack({
      renderSeconds: 0.5,
      gpu: { cancelSettleMs: 300 },
      env: {
        MINIO_ENDPOINT: endpoint ?? "",
        MINIO_ACCESS_KEY: accessKey ?? "",
        MINIO_SECRET_KEY: secretKey ?? "",
        MINIO_BUCKET: bucket,
      },
    });
  });
  after(async () => {
    s3?.resume();
    await stack?.close();
    await s3?.stop();
  });

  async function startUpload(maxTimeSeconds: number): Promise<string> {
    const count = stack.simulator.renders().length;
    const id = await stack.start({ maxTimeSeconds });
    await eventually("it renders", () => stack.simulator.renders().length > count);
    s3.stall();
    await eventually("it uploads", async () => (await stack.view(id)).stage === "uploading");
    return id;
  }

  it("for a while: the upload goes on when it answers again", async () => {
    const id = await startUpload(60);
    assert.equal((await stack.get(`/status/${id}`)).body.status, "running");
    s3.resume();
    await stack.untilState(id, "success");
    const { result_url: url } = (await stack.get(`/result/${id}`)).body;
    assert.equal((await fetchAll(url)).status, 200);
    assert.equal(stack.simulator.renders().length, 1);
  });

  it("for longer than max_time: the job fails and frees its GPU", async () => {
    const id = await startUpload(2);
    assert.equal((await stack.untilState(id, "failed")).error, "Job exceeded maximum runtime of 2 seconds");
    s3.resume();
    assert.equal(await stack.untilClosed(id), "FAILED");
  });
});
