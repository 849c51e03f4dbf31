import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { ComfyRefused, type ComfyUi, ComfyUnreachable, createComfyUi } from "../../src/clients/comfyui.ts";
import { createComput3 } from "../../src/clients/comput3.ts";
import { callGradio, gradioFile } from "../../src/clients/gradio.ts";
import { ModelFailure } from "../../src/clients/modelCall.ts";
import { generate, pull } from "../../src/clients/ollama.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { csmParameters } from "../support/csmParameters.ts";
import { type Answer, startTamperer, withoutEnd } from "../support/tamperer.ts";

const MIB = 1024 * 1024;
/** What may have been sent when somebody stops reading after 32 MiB: what stands in buffers on the way, too. */
const MAX_SENT = 64 * MIB;
const MAX_MESSAGE = 20_000;
const DEEP = "[".repeat(100_000);

const json = (text: string, status = 200): Answer => {
  return (response) => void response.writeHead(status, { "Content-Type": "application/json" }).end(text);
};
const endless = (piece: string, start = "", headers = {}): Answer => {
  return (response) => {
    response.writeHead(200, { "Content-Type": "application/json", ...headers });
    return withoutEnd(response, piece, start);
  };
};
/** A gigabyte and a half in as many kilobytes. */
const bomb: Answer = async (response: ServerResponse) => {
  response.writeHead(200, { "Content-Type": "application/json", "Content-Encoding": "gzip" });
  const zeros = Readable.from(
    (function* () {
      for (let piece = 0; piece < 1500; piece += 1) yield Buffer.alloc(MIB, "0");
    })(),
  );
  await pipeline(zeros, createGzip({ level: 1 }), response).catch(() => {});
};
const events = (text: string): Answer => {
  return (response) => void response.writeHead(200, { "Content-Type": "text/event-stream" }).end(text);
};
const event = (message: object) => `data: ${JSON.stringify(message)}\n\n`;
const completed = (output: object, success = true) =>
  event({ msg: "process_completed", event_id: "e", success, output });

/** Where, what is answered there, and what of it is told. */
type Case = [what: string, path: string, answer: Answer, told: RegExp];

describe("a node that is somebody else's", () => {
  const printed = { error: console.error, warn: console.warn };
  const signal = new AbortController().signal;
  let simulator: Simulator;
  let tamperer: Awaited<ReturnType<typeof startTamperer>>;
  let nodes: Record<"media" | "ollama", string>;

  before(async () => {
    console.error = () => {};
    console.warn = () => {};
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
    tamperer = await startTamperer(simulator.url);
    const comput3 = createComput3({ apiUrl: simulator.comput3Url, apiKey: simulator.apiKey });
    const expires = Math.floor(Date.now() / 1000) + 3600;
    const [media, ollama] = await Promise.all(
      ["media:fast", "ollama_webui:fast"].map((type) => comput3.launch({ type, expires })),
    );
    nodes = { media: media?.node ?? "", ollama: ollama?.node ?? "" };
  });
  after(async () => {
    Object.assign(console, printed);
    await tamperer.close();
    await simulator.close();
  });

  /** Each is a failure that is told in a bounded number of words, after a bounded number of bytes. */
  function refuses(cases: Case[], kinds: (new (...args: never[]) => Error)[], ask: () => Promise<unknown>) {
    for (const [what, path, answer, told] of cases) {
      it(`is not listened to: ${what}`, async () => {
        tamperer.instead(path, answer);
        const before = process.memoryUsage().rss;
        const error = await ask().then(
          (value) => assert.fail(`it came to ${JSON.stringify(value).slice(0, 200)}`),
          (caught: unknown) => caught,
        );
        tamperer.instead();
        assert.ok(kinds.some((kind) => error instanceof kind) && error instanceof Error, String(error).slice(0, 500));
        assert.match(error.message, told);
        assert.ok(error.message.length <= MAX_MESSAGE, `${error.message.length} letters`);
        assert.ok(tamperer.sent() <= MAX_SENT, `${tamperer.sent()} bytes`);
        const grown = process.memoryUsage().rss - before;
        assert.ok(grown < 600 * MIB, `grew by ${Math.round(grown / MIB)} MiB`);
      });
    }
  }

  describe("Comput3", () => {
    const workload = (node: string) => JSON.stringify([{ workload: "w", node, type: "t", created: 1, expires: 2 }]);
    refuses(
      [
        ["an answer without an end", "/workloads", endless(" "), /larger than 32 MiB/],
        ["a compressed one", "/workloads", bomb, /larger than 32 MiB/],
        ["one that is nested deeply", "/workloads", json(DEEP), /something else than expected/],
        ["a name that is no text", "/workloads", json(workload("\ud800")), /something else than expected/],
        ["a name that moves the cursor", "/workloads", json(workload("\u001b[2J")), /something else than expected/],
        ["a name of a megabyte", "/workloads", json(workload("n".repeat(MIB))), /something else than expected/],
        ["an error of six megabytes", "/workloads", json("e".repeat(6 * MIB), 500), /answered 500: e+$/],
      ],
      [Error],
      () => createComput3({ apiUrl: `${tamperer.url}/api/v0`, apiKey: simulator.apiKey }).runningWorkloads(),
    );
  });

  describe("Ollama", () => {
    const node = () => ({ baseUrl: `${tamperer.url}/nodes/${nodes.ollama}`, apiKey: simulator.apiKey, signal });
    const path = "/api/generate";
    refuses(
      [
        ["a line without an end", path, endless("x", '{"response": "'), /larger than 32 MiB/],
        ["a line that is nested deeply", path, json(`${DEEP}\n`), /something strange/],
        ["an answer without an end", path, endless(`${JSON.stringify({ response: "y".repeat(10_000) })}\n`), /an end/],
        [
          "an error without an end",
          path,
          (response) => {
            response.writeHead(500, { "Content-Type": "application/json" });
            return withoutEnd(response, "e");
          },
          /larger than 32 MiB/,
        ],
        ["an error of six megabytes", path, json(JSON.stringify({ error: "e".repeat(6 * MIB) }), 500), /failed: e+/],
        [
          "one in the middle of its answer",
          path,
          json(`${JSON.stringify({ error: "e".repeat(6 * MIB) })}\n`),
          /failed: e+/,
        ],
      ],
      [ModelFailure],
      () => generate(node(), { model: "llama3.2-vision:11b", prompt: "?", image: "", onText: () => {} }),
    );
    refuses(
      [["a line of a download without an end", "/api/pull", endless("x", '{"status": "'), /larger than 32 MiB/]],
      [ModelFailure],
      () => pull(node(), "llama3.2-vision:11b", () => {}),
    );
  });

  describe("ComfyUI", () => {
    const comfy = (): ComfyUi => createComfyUi(`${tamperer.url}/ui/${nodes.media}`, simulator.apiKey);
    const id = "5ffc9a1e-0000-8000-8000-000000000000";
    const path = `/history/${id}`;
    refuses(
      [
        ["a history without an end", path, endless(" "), /larger than 32 MiB/],
        ["a compressed one", path, bomb, /larger than 32 MiB/],
        ["one that is nested deeply", path, json(`{"${id}": {"prompt": [1, 2, ${DEEP}`), /something unexpected/],
      ],
      [ComfyUnreachable],
      () => comfy().history(id),
    );
    refuses(
      [
        [
          "a refusal of six megabytes",
          "/prompt",
          json(JSON.stringify({ error: { message: "e".repeat(6 * MIB) } }), 400),
          /graph: e+…$/,
        ],
        ["an answer of 40 MiB", "/prompt", json("{}".padEnd(40 * MIB)), /larger than 32 MiB/],
      ],
      [ComfyRefused, ComfyUnreachable],
      () => comfy().submit({}, id, id),
    );

    for (const [what, file] of [
      ["climbs out of its folder", { filename: "../../etc/passwd" }],
      ["climbs, as on Windows", { filename: "..\\..\\secret.mp4" }],
      ["lies in a folder that climbs out", { filename: "a.mp4", subfolder: "a/../../b" }],
      ["has a type that climbs out", { filename: "a.mp4", type: "../output" }],
      ["has a name that is no text", { filename: "\ud800.mp4" }],
      ["has a name that moves the cursor", { filename: "\u001b[2J.mp4" }],
      ["has a name of a megabyte", { filename: "f".repeat(MIB) }],
    ] as const) {
      it(`offers no file that ${what}`, async () => {
        const whole = { filename: "whole.mp4", subfolder: "sub", type: "output" };
        tamperer.instead(path, json(JSON.stringify({ [id]: { outputs: { 1: { gifs: [file, whole] } } } })));
        assert.deepEqual((await comfy().history(id))?.files, [whole]);
        tamperer.instead();
      });
    }
  });

  describe("Gradio", () => {
    const call = () =>
      callGradio({
        appUrl: `${tamperer.url}/nodes/${nodes.media}/csm/`,
        apiKey: simulator.apiKey,
        endpoint: "/generate_monologue_audio",
        signal,
        settleMs: 1000,
        arguments: () => ({ parameters: csmParameters }),
      });
    const stream = "/queue/data";
    const piece = "data: x\n";
    refuses(
      [
        ["a configuration without an end", "/csm/config", endless(" "), /larger than 32 MiB/],
        ["a compressed one", "/csm/config", bomb, /./],
        ["a description without an end", "/gradio_api/info", endless(" "), /./],
        [
          "a line of events without an end",
          stream,
          endless("x", "data: ", { "Content-Type": "text/event-stream" }),
          /larger than 8 MiB/,
        ],
        [
          "an event without an end",
          stream,
          endless(piece, "", { "Content-Type": "text/event-stream" }),
          /larger than 8 MiB/,
        ],
        [
          "an error of six megabytes",
          stream,
          events(completed({ error: `T: ${"e".repeat(6 * MIB)}` }, false)),
          /^T: e+\n…\ne+$/,
        ],
        ["an event that is nested deeply", stream, events(`data: ${DEEP}\n\n`), /ended early/],
      ],
      [ModelFailure],
      call,
    );

    for (const path of ["/tmp/../../etc/passwd", "\ud800", "/tmp/\u0000", `/${"p".repeat(5000)}`, "", "..\\x"]) {
      it(`offers no file at ${JSON.stringify(path).slice(0, 40)}`, () => {
        assert.equal(gradioFile.safeParse({ path }).success, false);
      });
    }
  });
});
