import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { submitJob } from "../../src/api/jobs/submitJob.ts";
import { type Config, loadConfig } from "../../src/config/index.ts";
import { ids } from "../../src/contracts/names.ts";
import { type Stack, startStack } from "../../src/dev/stack.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import type { JobInputs, JobSpec, JobType, JobView } from "../../src/jobs/job.ts";
import { csmSchema } from "../../src/jobs/kinds/csm.ts";
import { isFinal } from "../../src/jobs/states.ts";
import { createClient, type Submissions } from "../../src/sdk/index.ts";
import type { Simulator } from "../../src/simulator/simulator.ts";
import { createObjectStore } from "../../src/storage/index.ts";
import { keys } from "../../src/storage/keys.ts";
import { bundleWorkflows } from "../../src/workers/workers.ts";
import { eventually } from "./eventually.ts";
import { testLog } from "./runtime.ts";
import { testTemporal } from "./temporal.ts";

/** Short times, so that tests of waiting do not wait long; each test may change them further. */
export interface TestStackOptions {
  gpu?: Partial<Config["gpu"]>;
  webhook?: Partial<Config["webhook"]>;
  simulator?: Partial<Config["simulator"]>;
  renderSeconds?: number;
  env?: Record<string, string>;
  withoutWorker?: boolean;
  /** A server of the test's own. */
  temporalAddress?: string;
  /** Comput3's calls. */
  timeoutMs?: number;
}

export interface TestStack extends Omit<Stack, "simulator"> {
  simulator: Simulator;
  post(path: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> }>;
  get(path: string): Promise<{ status: number; body: Record<string, unknown> }>;
  /** Submits a csm job and returns its id. */
  submit(body?: Submissions["csm"]): Promise<string>;
  /** Starts a job with deadlines that the API would not take, because they are too short for anybody but a test. */
  start(overrides: Deadlines): Promise<string>;
  view(id: string): Promise<JobView>;
  /** Keys of the job's inputs that are in the store. */
  storedInputs(id: string): Promise<string[]>;
  /** Waits until the job is in that state. */
  untilState(id: string, state: string): Promise<JobView>;
  /** Waits until the job's workflow has closed, and says how. */
  untilClosed(id: string): Promise<string>;
  /** Stops every instance and checks that nothing is left. */
  close(): Promise<void>;
}

type Deadlines = Partial<Pick<JobSpec, "completeBy" | "maxTimeSeconds" | "notifyUrl">> & Kind;
/** What is asked for, with the pool that does it. */
type Kind = Partial<{ [T in JobType]: { type: T; input: JobInputs[T]; gpuType?: string } }[JobType]>;

const { input } = csmSchema({ maxTimeSeconds: 1200, completeInSeconds: 3600, maxTextChars: 1000 }).parse({
  text: "A job with short deadlines.",
});
const aJob = { type: "csm", input, gpuType: "media:fast" } as const;

const bundles = new Map<boolean, ReturnType<typeof bundleWorkflows>>();

/** One bundle for all stacks of a kind. */
function bundleFor({ temporal }: Config): ReturnType<typeof bundleWorkflows> {
  const encrypted = temporal.payloadKeys.length > 0;
  const bundle = bundles.get(encrypted) ?? bundleWorkflows(encrypted);
  bundles.set(encrypted, bundle);
  return bundle;
}

export async function startTestStack(options: TestStackOptions = {}): Promise<TestStack> {
  const log = testLog();
  const address = options.temporalAddress ?? (await testTemporal()).address;
  const folder = await mkdtemp(join(tmpdir(), "c3-render-test-"));
  const config = await testConfig(options, address, folder);
  const { renderSeconds, withoutWorker } = options;
  const stack = await startStack({
    config,
    log,
    workflowBundle: await bundleFor(config),
    env: process.env,
    ...(renderSeconds !== undefined && { renderSeconds }),
    ...(withoutWorker !== undefined && { withoutWorker }),
  });
  const { simulator } = stack;
  assert.ok(simulator, "tests run against the simulator");
  return { ...stack, simulator, ...helpers(stack, simulator, folder) };
}

async function testConfig(options: TestStackOptions, address: string, folder: string): Promise<Config> {
  // Not one of those that the system hands out by itself: somebody else could have it before the API listens.
  const port = await freePort(10_000 + Math.floor(Math.random() * 20_000), "the API", () => {});
  const config = loadConfig({
    PORT: String(port),
    SIM_PORT: "0",
    GPU_PROVIDER: "simulator",
    C3_API_KEY: "c3-key-of-the-tests",
    TEMPORAL_ADDRESS: address,
    TEMPORAL_NAMESPACE: `test-${randomUUID()}`,
    C3_RENDER_DATA_DIR: folder,
    OUTPUT_DIR: join(folder, "output"),
    RATE_LIMIT: "1000000",
    ...options.env,
  });
  return {
    ...config,
    comput3: { ...config.comput3, timeoutMs: options.timeoutMs ?? config.comput3.timeoutMs },
    simulator: { ...config.simulator, launchSeconds: 0, speed: 0, ...options.simulator },
    webhook: { ...config.webhook, retryDelaysMs: [50, 50, 50, 50], ...options.webhook },
    gpu: {
      ...config.gpu,
      bootDelayMs: 10,
      checkRetryMs: 50,
      watchIntervalMs: 200,
      launchRetryMs: [50, 50, 50, 50, 50],
      preLaunchMs: { min: 20, max: 40 },
      reconcileIntervalMs: 1000,
      ...options.gpu,
    },
  };
}

function helpers(stack: Stack, simulator: Simulator, folder: string) {
  const { client, config } = stack;
  const api = createClient({ baseUrl: stack.apiUrl });

  async function call(path: string, init?: RequestInit) {
    const response = await fetch(`${stack.apiUrl}${path}`, init);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }
  const post = (path: string, body: unknown) =>
    call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const describe = (id: string) => client.workflow.getHandle(ids.job(id)).describe();
  const view = async (id: string) => (await describe(id)).memo?.view as JobView;
  const openWorkflows = async () => {
    const open: string[] = [];
    for await (const { workflowId } of client.workflow.list({ query: "ExecutionStatus = 'Running'" }))
      open.push(workflowId);
    return open;
  };

  return {
    post,
    get: (path: string) => call(path),
    view,
    submit: (body: Submissions["csm"] = { text: "Hello from the tests." }) => api.submit("csm", body),
    async start(overrides: Deadlines) {
      const now = Date.now();
      const times = { createdAt: now, completeBy: now + 3_600_000, maxTimeSeconds: 1200 };
      const id = randomUUID();
      const job = { id, ...aJob, tenant: "default", priority: "normal", ...times, ...overrides } as JobSpec;
      await submitJob({ client, config }, job);
      return id;
    },
    async storedInputs(id: string) {
      const found: string[] = [];
      const store = createObjectStore(config.storage, "");
      for await (const { key } of store.list(keys.inputsOf(id))) found.push(key);
      return found;
    },
    async untilState(id: string, state: string) {
      let found: JobView | undefined;
      const shown = () => `job ${id} is ${state}, and not ${JSON.stringify(found)}`;
      return await eventually(shown, async () => {
        found = await view(id);
        if (found.state === state) return found;
        if (isFinal(found.state)) throw new Error(`it ended otherwise: ${shown()}`);
        return undefined;
      });
    },
    untilClosed: (id: string) =>
      eventually(`job ${id} is closed`, async () => {
        const { status } = await describe(id);
        return status.name === "RUNNING" ? undefined : status.name;
      }),
    async close() {
      simulator.clearFaults();
      try {
        if (stack.finished !== undefined) await leaveNothingBehind();
      } finally {
        await stack.stop();
        const left = await readdir(config.outputDir).catch(() => []);
        // Workers of the test may still write in it.
        await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
        assert.deepEqual(left, [], "temporary files are left");
      }
    },
  };

  /** Cancelled managers stop their instances; then nothing but the endless loops may be open. */
  async function leaveNothingBehind(): Promise<void> {
    await eventually("only pool and reconciler are open", async () => {
      const open = await openWorkflows();
      for (const id of open.filter((name) => /^gpu-(?!pool)/.test(name))) await client.workflow.getHandle(id).cancel();
      return open.every((id) => /^(gpu-pool-|reconcile-gpus)/.test(id)) ? true : undefined;
    });
    const running = simulator.instances().filter((instance) => instance.ended === undefined);
    assert.deepEqual(running, [], "instances still run");
  }
}
