import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../../src/config/index.ts";
import { ids } from "../../src/contracts/names.ts";
import { type Stack, startStack } from "../../src/dev/stack.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import type { JobView } from "../../src/jobs/job.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import { eventually } from "../support/eventually.ts";
import { type GradioNode, startGradioNode } from "../support/gradioNode.ts";
import { testLog } from "../support/runtime.ts";
import { testTemporal } from "../support/temporal.ts";

/** Of everything that a job may take on a machine that does other things, too. */
export const JOB_TIMEOUT_MS = 120_000;
export const NODE_KEY = "c3-key-of-the-tests";
const RATE = 16_000;

/** How much is tried with a version of Gradio. */
export interface Version {
  /** An old one, which has other addresses: that each kind of job works, and fails. */
  small?: boolean;
  /** What has nothing to do with the version is tried with this one only. */
  newest?: boolean;
  /** It tells the caller that a waiting call was cancelled, and runs it all the same. */
  runsCancelled?: boolean;
}

export interface JobDocument {
  status: string;
  error?: string;
  attempts?: number;
  files: { name: string; url: string; mime_type: string; bytes: number }[];
  gpu?: { id: string; node: string };
}

/** The whole service, with a node of one's own that runs real Gradio applications. */
export interface Service {
  node: GradioNode;
  stack: Stack;
  /** Links to inputs, and the ComfyUI of the node. */
  simulator: Simulator;
  submit(path: string, body: object): Promise<string>;
  cancel(id: string): Promise<void>;
  get(path: string): Promise<Record<string, unknown>>;
  view(id: string): Promise<JobView>;
  document(id: string): Promise<JobDocument>;
  /** Waits until the job has succeeded; says why when it has not. */
  succeeded(id: string): Promise<JobDocument>;
  /** Waits until the job has failed, and returns the sentence. */
  failed(id: string): Promise<string>;
  untilClosed(id: string): Promise<void>;
  /** Puts a tone of that length behind a link. */
  recording(seconds: number, channels?: 1 | 2): Promise<string>;
  /** Instances that are leased or idle, and those that stand on the bench. */
  gpuIds(): Promise<string[]>;
  close(): Promise<void>;
}

export interface ServiceOptions {
  /** The node of another service; it is left as it is. */
  node?: GradioNode;
  python: string;
  withoutWorker?: boolean;
}

let bundle: ReturnType<typeof bundleWorkflows> | undefined;

export async function startService({ python, withoutWorker = false, ...given }: ServiceOptions): Promise<Service> {
  bundle ??= bundleWorkflows();
  const folder = await mkdtemp(join(tmpdir(), "c3-render-test-"));
  const simulator = await startSimulator({ port: 0, launchSeconds: 0, speed: 0, apiKey: NODE_KEY });
  const node = given.node ?? (await startGradioNode(python));
  const config = loadConfig({
    GPU_PROVIDER: "static",
    GPU_NODES: JSON.stringify([
      { name: "gradio", type: "media:fast", url: node.url, comfyui_url: await comfyUrlOf(simulator) },
    ]),
    C3_API_KEY: NODE_KEY,
    PORT: String(await freePort(0, "the API", () => {})),
    TEMPORAL_ADDRESS: (await testTemporal()).address,
    TEMPORAL_NAMESPACE: `test-${randomUUID()}`,
    C3_RENDER_DATA_DIR: folder,
    OUTPUT_DIR: join(folder, "output"),
    TRUSTED_ORIGINS: simulator.url,
    RATE_LIMIT: "1000000",
  });
  const stack = await startStack({
    config: { ...config, gpu: { ...config.gpu, watchIntervalMs: 1000, checkRetryMs: 200 } },
    log: testLog(),
    workflowBundle: await bundle,
    env: process.env,
    withoutWorker,
  });
  const helpers = helpersOf(stack, simulator);
  return {
    node,
    stack,
    simulator,
    ...helpers,
    async close() {
      await stack.stop();
      if (given.node === undefined) await node.stop();
      await simulator.close();
      const left = await readdir(join(folder, "output")).catch(() => []);
      await rm(folder, { recursive: true, force: true });
      assert.deepEqual(left, [], "temporary files are left");
    },
  };
}

function helpersOf({ apiUrl, client }: Stack, simulator: Simulator) {
  async function call(path: string, body?: object): Promise<Record<string, unknown>> {
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    const response = await fetch(`${apiUrl}${path}`, body === undefined ? {} : init);
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Record<string, unknown>;
  }
  const handle = (id: string) => client.workflow.getHandle(ids.job(id));
  const document = async (id: string) => (await call(`/jobs/${id}`)) as unknown as JobDocument;
  const untilOver = (id: string) =>
    eventually(
      `job ${id} is over`,
      async () => {
        const { status } = await call(`/status/${id}`);
        return ["success", "failed", "timed_out", "cancelled"].includes(String(status))
          ? await document(id)
          : undefined;
      },
      JOB_TIMEOUT_MS,
    );

  return {
    get: (path: string) => call(path),
    submit: async (path: string, body: object) => {
      const { id, job_id: other } = await call(path, body);
      return String(id ?? other);
    },
    cancel: async (id: string) => void (await call(`/job/${id}`, { status: "cancelled" })),
    view: async (id: string) => (await handle(id).describe()).memo?.view as JobView,
    document,
    async succeeded(id: string) {
      const over = await untilOver(id);
      assert.deepEqual([over.status, over.error], ["success", undefined]);
      return over;
    },
    async failed(id: string) {
      const { status, error = "" } = await untilOver(id);
      assert.equal(status, "failed", error);
      return error;
    },
    async untilClosed(id: string) {
      const closed = async () => (await handle(id).describe()).status.name !== "RUNNING";
      await eventually(
        `the workflow of job ${id} has closed`,
        async () => (await closed()) || undefined,
        JOB_TIMEOUT_MS,
      );
    },
    async recording(seconds: number, channels: 1 | 2 = 1) {
      const name = `${seconds}-seconds-${channels}.wav`;
      await fetch(`${simulator.url}/sim/files/${name}`, { method: "POST", body: wavOf(seconds, channels) });
      return `${simulator.url}/sim/files/${name}`;
    },
    async gpuIds() {
      const { gpus } = (await call("/gpus")) as { gpus: { id: string }[] };
      return gpus.map(({ id }) => id).sort();
    },
  };
}

/** A node of the simulator, for its ComfyUI; nobody but the test has rented it. */
async function comfyUrlOf(simulator: Simulator): Promise<string> {
  const response = await fetch(`${simulator.comput3Url}/launch`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-C3-API-KEY": simulator.apiKey },
    body: JSON.stringify({ type: "media:fast", expires: Math.floor(Date.now() / 1000) + 3600 }),
  });
  assert.equal(response.status, 200, await response.clone().text());
  const { node } = (await response.json()) as { node: string };
  return simulator.comfyuiUrlTemplate.replace("{node}", node);
}

/** A recording of a low hum that comes and goes, as speech does. */
function wavOf(seconds: number, channels: number): Uint8Array<ArrayBuffer> {
  const samples = Math.round(seconds * RATE);
  const file = Buffer.alloc(44 + 2 * samples * channels);
  file.write("RIFF", 0);
  file.writeUInt32LE(file.length - 8, 4);
  file.write("WAVEfmt ", 8);
  file.writeUInt32LE(16, 16);
  file.writeUInt16LE(1, 20);
  file.writeUInt16LE(channels, 22);
  file.writeUInt32LE(RATE, 24);
  file.writeUInt32LE(2 * channels * RATE, 28);
  file.writeUInt16LE(2 * channels, 32);
  file.writeUInt16LE(16, 34);
  file.write("data", 36);
  file.writeUInt32LE(2 * samples * channels, 40);
  for (let at = 0; at < samples; at += 1) {
    const speaking = (at / RATE) % 4 < 3.5;
    const value = speaking ? Math.round(8000 * Math.sin((2 * Math.PI * 180 * at) / RATE)) : 0;
    for (let channel = 0; channel < channels; channel += 1)
      file.writeInt16LE(value, 44 + 2 * (at * channels + channel));
  }
  return new Uint8Array(file);
}
