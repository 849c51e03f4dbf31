import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "../../src/sdk/index.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { type Command, startByNpm, startDirectly } from "../support/command.ts";
import { eventually } from "../support/eventually.ts";
import { startsOnce } from "../support/temporal.ts";

/** `STOPS=20 npx mocha test/system/stops.test.ts` is the long form. */
const STOPS = Number(process.env.STOPS ?? 3);
const blockLoop = new URL("../support/blockLoop.mjs", import.meta.url).href;

describe("stopping the embedded stack", function () {
  this.timeout(60_000 + STOPS * 40_000);
  let folder: string;
  let simulator: Simulator;
  const commands: Command[] = [];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "c3-render-stops-"));
    simulator = await startSimulator({ launchSeconds: 0, renderSeconds: 600 });
  });
  afterEach(async () => {
    for (const command of commands.splice(0)) {
      if (command.isGroupAlive()) command.signalGroup("SIGKILL");
      await command.ended;
    }
    const server = await serverOf();
    if (isAlive(server)) process.kill(server!, "SIGKILL");
    await simulator.close();
    await rm(folder, { recursive: true, force: true });
  });

  const env = (): NodeJS.ProcessEnv => ({
    // Those that go through npm run in the project's folder, whose `.env` counts less than what is set here.
    ...{ TEMPORAL_ADDRESS: "", MINIO_ENDPOINT: "", STORAGE: "" },
    GPU_PROVIDER: "comput3",
    C3_API_URL: simulator.comput3Url,
    C3_API_KEY: simulator.apiKey,
    NODE_URL_TEMPLATE: simulator.nodeUrlTemplate,
    COMFYUI_URL_TEMPLATE: simulator.comfyuiUrlTemplate,
    TRUSTED_ORIGINS: simulator.url,
    GPU_BOOT_DELAY: "0",
    C3_RENDER_DATA_DIR: join(folder, "data"),
    OUTPUT_DIR: join(folder, "output"),
    PORT: "0",
    TEMPORAL_PORT: "0",
    TEMPORAL_UI_PORT: "0",
    LOG_LEVEL: "error",
    NODE_OPTIONS: `--import=${blockLoop}`,
  });
  const running = () => simulator.instances().filter(({ ended }) => ended === undefined);
  const owned = async () => {
    const text = await readFile(join(folder, "data", "temporal.owner.json"), "utf8").catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as { server: number; owner: number });
  };
  const serverOf = async () => (await owned())?.server;

  /** Up, with a job on an instance. */
  async function up(start: (env: NodeJS.ProcessEnv) => Command, more: NodeJS.ProcessEnv = {}) {
    const command = start({ ...env(), ...more });
    commands.push(command);
    await command.until("Ctrl-C stops it");
    const [, baseUrl = ""] = /API +(http\S+)/.exec(command.output()) ?? [];
    if (running().length === 0) await createClient({ baseUrl }).submit("csm", { text: "It takes long." });
    await eventually("the job renders", () => simulator.renders().some(({ node }) => running()[0]?.node === node));
    const { server, owner } = (await owned())!;
    return { command, server, stack: owner };
  }

  async function blockLoopOf({ command, stack }: { command: Command; stack: number }): Promise<void> {
    process.kill(stack, "SIGUSR2");
    await command.until("the event loop is blocked");
  }

  async function nothingIsLeft(command: Command, server: number): Promise<void> {
    assert.deepEqual(running(), [], command.output());
    // Helpers, such as esbuild's, end when they read that their parent has.
    await eventually("every process has ended", () => !isAlive(server) && !command.isGroupAlive(), 5000);
  }

  const directly = (environment: NodeJS.ProcessEnv) => startDirectly("dev/start.ts", environment, folder);
  const byNpm = (environment: NodeJS.ProcessEnv) => startByNpm("start", environment);
  /** As `timeout` and process managers do: the process, then its group. */
  const twice = (signal: NodeJS.Signals) => (command: Command) => {
    command.signal(signal);
    command.signalGroup(signal);
  };
  const ways = [
    { name: "SIGINT twice, through npm start", start: byNpm, send: twice("SIGINT") },
    { name: "SIGINT to npm only", start: byNpm, send: (command: Command) => command.signal("SIGINT") },
    { name: "SIGINT twice, directly", start: directly, send: twice("SIGINT") },
    { name: "SIGINT to the group of npm", start: byNpm, send: (command: Command) => command.signalGroup("SIGINT") },
    { name: "SIGINT once, directly", start: directly, send: (command: Command) => command.signal("SIGINT") },
  ];

  it(`by SIGINT leaves nothing behind, ${STOPS} times, with an event loop that is blocked`, async () => {
    for (let stop = 0; stop < STOPS; stop += 1) {
      const { name, start, send } = ways[stop % ways.length]!;
      const stack = await up(start);
      await blockLoopOf(stack);
      const { command, server } = stack;
      send(command);
      const { code } = await command.ended;
      assert.match(command.output(), /Stopping …[\s\S]*Stopped\.\n/, name);
      assert.equal(code, 0, `${name}: ${command.output()}`);
      assert.doesNotMatch(command.output(), /Left running/, name);
      await nothingIsLeft(command, server);
    }
  });

  it("ends when its terminal is closed, although nobody reads what it says any more", async () => {
    const { command, server } = await up(byNpm);
    command.child.stdout?.destroy();
    command.child.stderr?.destroy();
    command.signalGroup("SIGHUP");
    await command.ended;
    await eventually("every process has ended", () => !isAlive(server) && !command.isGroupAlive());
    await nothingIsLeft(command, server);
  });

  it("ends in the time that is stated when the provider cannot be reached, and names what may still be paid for", async () => {
    const { command, server } = await up(directly, { STOP_TIMEOUT: "2" });
    const [instance] = running();
    simulator.fault({ service: "comput3", action: "hang" });
    const startedAt = performance.now();
    command.signal("SIGTERM");
    assert.equal((await command.ended).code, 1);
    assert.ok(performance.now() - startedAt < 42_000, command.output());
    const named = new RegExp(
      `Left running \\(still paid for\\):\n  gpu-media:fast-${instance!.expires} .*node ${instance!.node}`,
    );
    assert.match(command.output(), named);
    assert.ok(!isAlive(server), "the Temporal server still runs");
  });

  it("is left at once by a second request, which names what is paid for and ends the Temporal server", async () => {
    const { command, server } = await up(directly);
    const [instance] = running();
    simulator.fault({ service: "comput3", action: "hang" });
    command.signal("SIGINT");
    await command.until("Stopping 1 GPU instance(s) first");
    await eventually("it is left", () => {
      command.signal("SIGINT");
      return command.output().includes("Left running");
    });
    assert.equal((await command.ended).code, 1);
    assert.match(command.output(), new RegExp(`still paid for\\):\n  gpu-media:fast-.* node ${instance!.node}`));
    await eventually("the Temporal server has ended", () => !isAlive(server));
  });

  it("leaves nothing when it is stopped before it has started", async () => {
    const command = directly(env());
    commands.push(command);
    const server = await eventually("a Temporal server", async () => {
      const found = await owned();
      return found !== undefined && found.owner === command.child.pid ? found.server : undefined;
    });
    command.signal("SIGINT");
    assert.equal((await command.ended).code, 0, command.output());
    await nothingIsLeft(command, server);
  });

  it("the demo, too, stops its instances", async () => {
    const command = startDirectly("dev/demo.ts", env(), folder);
    commands.push(command);
    await eventually("the demo renders", () => running().length > 0);
    const server = (await serverOf())!;
    command.signal("SIGINT");
    assert.equal((await command.ended).code, 1, command.output());
    await nothingIsLeft(command, server);
  });

  it("goes on with its jobs when its Temporal server ends by itself", async () => {
    const { command, server } = await up(directly);
    process.kill(server, "SIGKILL");
    await command.until("Starting Temporal again: the Temporal server ended (SIGKILL)");
    const [, baseUrl = ""] = /API +(http\S+)/.exec(command.output()) ?? [];
    await eventually("the job runs on", async () => {
      const response = await fetch(`${baseUrl}/jobs?state=running`);
      const { jobs = [] } = (await response.json()) as { jobs?: unknown[] };
      return jobs.length === 1;
    });
    const next = (await serverOf())!;
    assert.notEqual(next, server);
    command.signal("SIGINT");
    assert.equal((await command.ended).code, 0, command.output());
    await nothingIsLeft(command, next);
  });

  it("says what may be paid for when its Temporal server cannot be started again", async () => {
    const { command, server } = await up(directly, { TEMPORAL_CLI_PATH: await startsOnce(folder) });
    process.kill(server, "SIGKILL");
    assert.equal((await command.ended).code, 1);
    assert.match(
      command.output(),
      /It cannot go on: the Temporal server ended \(SIGKILL\), and could not be started again/,
    );
    assert.match(command.output(), /Whether instances are still paid for is not known/);
  });

  for (const script of ["simulator", "api"]) {
    it(`npm run ${script} ends in order, though it is told so twice`, async () => {
      const temporal = startDirectly("dev/temporal.ts", env(), folder);
      commands.push(temporal);
      await temporal.until("Temporal serves on");
      const [, address = ""] = /serves on (\S+);/.exec(temporal.output()) ?? [];
      const own = { TEMPORAL_ADDRESS: address, STORAGE_SHARED: "true", SIM_PORT: "0", LOG_LEVEL: "info" };
      const command = startByNpm(script, { ...env(), ...own });
      commands.push(command);
      await command.until(/is running|is listening/);
      twice("SIGTERM")(command);
      assert.equal((await command.ended).code, 0, command.output());
      temporal.signal("SIGINT");
      await temporal.ended;
    });
  }

  it("npm run temporal serves until a signal, and leaves no server", async () => {
    const command = startByNpm("temporal", env());
    commands.push(command);
    await command.until("Temporal serves on");
    const server = (await serverOf())!;
    assert.ok(isAlive(server) && command.isGroupAlive());
    twice("SIGINT")(command);
    assert.equal((await command.ended).code, 0, command.output());
    await nothingIsLeft(command, server);
  });
});

function isAlive(pid: number | undefined): boolean {
  if (pid === undefined) return false;
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
