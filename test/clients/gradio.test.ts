import assert from "node:assert/strict";
import { createComput3 } from "../../src/clients/comput3.ts";
import { callGradio, type GradioArguments, type GradioCall } from "../../src/clients/gradio.ts";
import { ModelAborted, ModelFailure } from "../../src/clients/modelCall.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { csmParameters } from "../support/csmParameters.ts";
import { eventually } from "../support/eventually.ts";

describe("callGradio", () => {
  const printed = { error: console.error, warn: console.warn };
  let simulator: Simulator;
  let node: string;
  const launch = async () => {
    const comput3 = createComput3({ apiUrl: simulator.comput3Url, apiKey: simulator.apiKey });
    const expires = Math.floor(Date.now() / 1000) + 3600;
    return (await comput3.launch({ type: "media:fast", expires })).node;
  };

  before(async () => {
    // The library prints every failure, which is what is tested here.
    console.error = () => {};
    console.warn = () => {};
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
  });
  beforeEach(async () => {
    simulator.clearFaults();
    simulator.settings.renderSeconds = undefined;
    node = await launch();
  });
  after(async () => {
    Object.assign(console, printed);
    await simulator.close();
  });

  type Overrides = Partial<GradioCall & GradioArguments>;

  function call({ parameters: changed, files = {}, ...overrides }: Overrides = {}) {
    const parameters = {
      ...csmParameters,
      ...changed,
    };
    return callGradio({
      appUrl: `${simulator.url}/nodes/${node}/csm/`,
      apiKey: simulator.apiKey,
      endpoint: "/generate_monologue_audio",
      signal: new AbortController().signal,
      settleMs: 5000,
      arguments: () => ({ parameters, files }),
      ...overrides,
    });
  }

  const failure = async (overrides: Overrides = {}) => {
    const error = await call(overrides).catch((caught: unknown) => caught);
    assert.ok(error instanceof ModelFailure, String(error));
    return error;
  };
  const fault = (action: Parameters<Simulator["fault"]>[0]["action"], path?: string, times = 1) =>
    simulator.fault({ service: "csm", action, times, ...(path !== undefined && { path }) });

  it("returns what the function made, from where it can be fetched, with progress on the way", async () => {
    const seen: string[] = [];
    const { values, fileUrl } = await call({ onProgress: (_, detail) => seen.push(detail) });
    const [file] = values as { path: string }[];
    const answer = await fetch(fileUrl(file!.path), { headers: { "X-C3-API-KEY": simulator.apiKey } });
    assert.equal(answer.headers.get("content-type"), "audio/mpeg");
    assert.ok(seen.includes("running"), seen.join(", "));
  });

  it("tells values that the app refuses from a run that fails", async () => {
    const refused = await failure({ parameters: { temperature: 5 } });
    assert.deepEqual([refused.kind, refused.message], ["refused", "Value 5 is greater than maximum value 2.0."]);
    fault("render_error");
    assert.equal((await failure()).kind, "failed");
    assert.equal((await failure({ parameters: { monologue_json: "not JSON" } })).kind, "failed");
  });

  for (const [what, action, path, times] of [
    ["an upload that the node refuses", "status", "/upload"],
    ["an HTML page instead of an answer", "html_error", "/queue/join"],
    ["an event stream that is refused", "status", "/queue/data"],
    ["a stream that ends early", "end_stream_early", undefined],
    ["a stream whose connection is reset, twice", "reset", "/queue/data", 2],
    ["a configuration that is an error page", "html_error", "/config"],
  ] as const) {
    it(`fails, so that it may be tried again, on ${what}`, async () => {
      fault(action, path, times);
      const file = new File(["RIFF"], "voice.wav");
      const { kind, message } = await failure({ files: { speaker_audio: file } });
      assert.equal(kind, "transport", message);
    });
  }

  it("opens the stream again on a connection that was kept alive, and is reset", async () => {
    fault("reset", "/queue/data");
    assert.equal((await call()).values.length, 1);
  });

  for (const version of ["4.44", "5.50", "6.31"] as const) {
    describe(`of Gradio ${version}, which keeps session state`, () => {
      before(() => {
        simulator.settings.gradioVersion = version;
      });
      after(() => {
        simulator.settings.gradioVersion = "6.31";
        simulator.settings.gradioQueueSize = undefined;
      });

      it("returns files from where that version serves them", async () => {
        const { values, fileUrl } = await call();
        const answer = await fetch(fileUrl((values[0] as { path: string }).path), {
          headers: { "X-C3-API-KEY": simulator.apiKey },
        });
        assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "audio/mpeg"]);
      });

      it("tells the words of a failure as the app raised them", async () => {
        fault("render_error");
        const { kind, message } = await failure();
        assert.deepEqual([kind, message], ["failed", "Generation failed: a fault of the simulator"]);
      });

      it("waits while the queue is full", async () => {
        simulator.settings.gradioQueueSize = 1;
        simulator.settings.renderSeconds = 1;
        const details: string[] = [];
        const running = call();
        await eventually("the first renders", () => simulator.renders().some((seen) => seen.node === node));
        const waiting = call({ parameters: { monologue_json: '["Two."]' } });
        await eventually("the queue is full", async () => {
          const late = new AbortController();
          const onProgress = (_: number | null, detail: string) => {
            details.push(detail);
            if (detail.includes("queue is full")) late.abort();
          };
          const error = await call({ onProgress, signal: late.signal }).catch((caught: unknown) => caught);
          if (!(error instanceof ModelAborted)) return undefined;
          assert.ok(error.nodeIdle);
          return true;
        });
        simulator.settings.renderSeconds = undefined;
        await Promise.all([running, waiting, call({ parameters: { monologue_json: '["Three."]' } })]);
        assert.ok(details.includes("waiting, the node's queue is full"));
      });
    });
  }

  for (const status of [401, 403]) {
    it(`says at once that the node refuses the key (${status})`, async () => {
      simulator.fault({ service: "csm", action: "status", path: "/queue/join", status, times: 1 });
      const { kind, message } = await failure();
      assert.deepEqual([kind, message], ["broken", `the node refused the API key (${status})`]);
    });
  }

  for (const status of [400, 413, 422]) {
    it(`takes a call that the app says no to as refused (${status})`, async () => {
      simulator.fault({ service: "csm", action: "status", path: "/queue/join", status, times: 1 });
      assert.equal((await failure()).kind, "refused");
    });
  }

  it("prints nothing of its own at a cancel", async () => {
    const lines: unknown[] = [];
    const quiet = console.error;
    console.error = (...line: unknown[]) => void lines.push(line);
    try {
      simulator.settings.renderSeconds = 1;
      const running = call();
      await eventually("the first renders", () => simulator.renders().some((seen) => seen.node === node));
      const controller = new AbortController();
      const waiting = call({
        signal: controller.signal,
        onProgress: (_, detail) => void (detail.startsWith("waiting") && controller.abort()),
      });
      await assert.rejects(waiting, ModelAborted);
      await running;
      assert.deepEqual(lines, []);
    } finally {
      console.error = quiet;
    }
  });

  it("builds the address of a file from its path, whatever is in it", async () => {
    const { fileUrl } = await call();
    const url = new URL(fileUrl("/tmp/gradio/a b#c?d%e/ü.mp3"));
    assert.ok(url.pathname.endsWith("/csm/gradio_api/file=/tmp/gradio/a%20b%23c%3Fd%25e/%C3%BC.mp3"), url.href);
    assert.deepEqual([url.hash, url.search], ["", ""]);
  });

  it("calls the app where it found it, wherever the app says that it is: the key goes to no other host", async () => {
    fault("foreign_root");
    const { values } = await call();
    assert.equal(values.length, 1);
  });

  it("lets a run that is given up end, and says that the node is idle then", async () => {
    simulator.settings.renderSeconds = 1;
    const controller = new AbortController();
    // Given up when the caller knows that it renders: a run that starts while it is being cancelled counts as not idle.
    const calling = call({
      signal: controller.signal,
      onProgress: (_, detail) => void (detail === "running" && controller.abort()),
    }).catch((caught: unknown) => caught);
    const render = await eventually("it renders", () => simulator.renders().find((seen) => seen.node === node));
    const error = await calling;
    assert.ok(error instanceof ModelAborted && error.nodeIdle, String(error));
    assert.notEqual(render.finishedAt, undefined);
  });

  it("says that the node is not idle when the run goes on for too long", async () => {
    simulator.settings.renderSeconds = 2;
    const controller = new AbortController();
    const calling = call({ signal: controller.signal, settleMs: 100 }).catch((caught: unknown) => caught);
    const render = await eventually("it renders", () => simulator.renders().find((seen) => seen.node === node));
    controller.abort();
    const error = await calling;
    assert.ok(error instanceof ModelAborted && !error.nodeIdle, String(error));
    assert.equal(render.finishedAt, undefined);
  });

  it("takes a call that waits in the node's queue out of it", async () => {
    simulator.settings.renderSeconds = 1;
    const first = call();
    await eventually("the first renders", () => simulator.renders().find((seen) => seen.node === node));
    const controller = new AbortController();
    let waiting = false;
    const second = call({
      parameters: { monologue_json: '["Never spoken."]' },
      signal: controller.signal,
      onProgress: (_, detail) => {
        waiting ||= detail.startsWith("waiting");
      },
    }).catch((caught: unknown) => caught);
    await eventually("the second waits", () => waiting || undefined);
    controller.abort();
    const error = await second;
    assert.ok(error instanceof ModelAborted && error.nodeIdle, String(error));
    await first;
    assert.equal(simulator.renders().filter((seen) => seen.node === node).length, 1);
  });

  it("makes no call at all when it is given up before", async () => {
    await assert.rejects(call({ signal: AbortSignal.abort() }));
    assert.deepEqual(
      simulator.calls().filter((made) => made.node === node),
      [],
    );
  });
});
