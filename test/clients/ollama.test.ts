import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import sharp from "sharp";
import { Agent, getGlobalDispatcher, setGlobalDispatcher, fetch as usualFetch } from "undici";
import { createComput3 } from "../../src/clients/comput3.ts";
import { ModelAborted, ModelFailure } from "../../src/clients/modelCall.ts";
import { generate, ModelMissing, type OllamaNode, pull, type Question } from "../../src/clients/ollama.ts";
import { type Simulator, startSimulator } from "../../src/simulator/simulator.ts";
import { eventually } from "../support/eventually.ts";

const MODEL = "llama3.2-vision:11b";

describe("the Ollama client", () => {
  let simulator: Simulator;
  let image: string;
  let name: string;
  let node: OllamaNode;

  before(async () => {
    simulator = await startSimulator({ launchSeconds: 0, speed: 0 });
    const picture = { width: 60, height: 40, channels: 3 as const, background: "#1e46d2" };
    image = (await sharp({ create: picture }).png().toBuffer()).toString("base64");
  });
  beforeEach(async () => {
    simulator.clearFaults();
    Object.assign(simulator.settings, { renderSeconds: undefined, visionModels: [MODEL] });
    const comput3 = createComput3({ apiUrl: simulator.comput3Url, apiKey: simulator.apiKey });
    const expires = Math.floor(Date.now() / 1000) + 3600;
    name = (await comput3.launch({ type: "ollama_webui:fast", expires })).node;
    node = {
      baseUrl: `${simulator.url}/nodes/${name}`,
      apiKey: simulator.apiKey,
      signal: new AbortController().signal,
    };
  });
  after(() => simulator.close());

  const ask = (question: Partial<Question> = {}, at: Partial<OllamaNode> = {}) =>
    generate({ ...node, ...at }, { model: MODEL, prompt: "What is this?", image, onText: () => {}, ...question });
  const caught = async (work: Promise<unknown>) =>
    await work.then(
      (value) => assert.fail(`it came to ${JSON.stringify(value)}`),
      (error: unknown) => error,
    );
  const failure = async (work: Promise<unknown>) => {
    const error = await caught(work);
    assert.ok(error instanceof ModelFailure, String(error));
    return error;
  };
  const fault = (wanted: Omit<Parameters<Simulator["fault"]>[0], "service">) =>
    simulator.fault({ service: "ollama", times: 1, ...wanted });
  const renders = () => simulator.renders().filter((render) => render.node === name);

  it("gives the whole answer, and what has come so far on the way", async () => {
    const seen: string[] = [];
    const text = await ask({ onText: (soFar) => seen.push(soFar) });
    assert.match(text, /^\[simulated\] You asked: "What is this\?"\. A PNG picture of 60 × 40 pixels, mostly blue\.$/);
    assert.ok(seen.length > 10, `${seen.length} pieces`);
    assert.ok(seen.every((soFar, index) => index === 0 || soFar.startsWith(seen[index - 1]!)));
    assert.equal(seen.at(-1), text);
    const [{ arguments: args } = assert.fail("no render")] = renders();
    assert.deepEqual([args.model, args.prompt, args.stream], [MODEL, "What is this?", true]);
  });

  it("knows a model that is missing", async () => {
    const error = await caught(ask({ model: "other:1b" }));
    assert.ok(error instanceof ModelMissing, String(error));
    assert.match(error.message, /model "other:1b" not found/);
  });

  it("pulls a model, with its progress", async () => {
    const seen: number[] = [];
    await pull(node, "other:1b", (done) => seen.push(done));
    assert.equal(seen.at(-1), 1);
    assert.deepEqual(
      seen,
      [...seen].sort((one, other) => one - other),
    );
    assert.match(await ask({ model: "other:1b" }), /mostly blue/);
  });

  it("says which model could not be pulled", async () => {
    const { kind, message } = await failure(pull(node, "missing:1b", () => {}));
    assert.equal(kind, "failed");
    assert.match(message, /^the model missing:1b could not be pulled: .*file does not exist$/);
  });

  for (const [what, wanted, kind] of [
    ["a model that fails in the middle of its answer", { action: "render_error" }, "failed"],
    ["an answer that ends early", { action: "end_stream_early" }, "transport"],
    ["a node that is busy", { action: "status", path: "/api/generate", status: 503 }, "transport"],
    ["too many requests", { action: "status", path: "/api/generate", status: 429 }, "transport"],
    ["a 404 that is not about a model", { action: "status", path: "/api/generate", status: 404 }, "transport"],
    ["an HTML page with an error", { action: "html_error", path: "/api/generate" }, "transport"],
    ["an HTML page instead of an answer", { action: "wrong_mime", path: "/api/generate" }, "transport"],
    ["a connection that is reset", { action: "reset", path: "/api/generate" }, "transport"],
    ["an answer that is cut off", { action: "truncate", path: "/api/generate" }, "transport"],
  ] as const) {
    it(`fails as ${kind} on ${what}, and then works again`, async () => {
      fault(wanted);
      const error = await failure(ask());
      assert.equal(error.kind, kind, error.message);
      assert.ok(!error.message.includes("<html"), "a page is no sentence");
      assert.match(await ask(), /mostly blue/);
    });
  }

  it("tells what is refused from what fails, by the server's own words", async () => {
    const refused = await failure(ask({ image: "%%%" }));
    assert.deepEqual(
      [refused.kind, refused.message],
      ["refused", "the model failed: illegal base64 data at input byte 0"],
    );
    const failed = await failure(ask({ image: Buffer.from("no picture").toString("base64") }));
    assert.deepEqual([failed.kind, failed.message], ["failed", "the model failed: Failed to load image or audio file"]);
  });

  it("says that a node cannot be reached", async () => {
    const { kind, message } = await failure(ask({}, { baseUrl: "http://127.0.0.1:1" }));
    assert.equal(kind, "transport");
    assert.match(message, /^the model could not be reached: /);
  });

  it("stops the model when it is given up", async () => {
    simulator.settings.renderSeconds = 4;
    const controller = new AbortController();
    const asking = caught(ask({ onText: () => controller.abort() }, { signal: controller.signal }));
    const error = await asking;
    assert.ok(error instanceof ModelAborted && error.nodeIdle, String(error));
    await eventually("the model stops", () => renders()[0]?.outcome === "interrupted");
  });

  it("waits for a server that sends no header for longer than others wait", async () => {
    // The usual limit of `fetch` is 300 s. Here it is a moment for every call that does not bring a limit of its own.
    const usual = getGlobalDispatcher();
    setGlobalDispatcher(new Agent({ headersTimeout: 500, bodyTimeout: 500 }));
    try {
      simulator.settings.ollamaSilentSeconds = 3;
      const tags = await usualFetch(`${node.baseUrl}/api/tags`, { headers: { "X-C3-API-KEY": node.apiKey } });
      assert.equal(tags.status, 200);
      const [own, usualCall] = await Promise.allSettled([
        ask(),
        usualFetch(`${node.baseUrl}/api/generate`, {
          method: "POST",
          headers: { "X-C3-API-KEY": node.apiKey },
          body: JSON.stringify({ model: MODEL }),
        }),
      ]);
      assert.equal(own.status, "fulfilled", String(own.status === "rejected" && own.reason));
      assert.equal(usualCall.status, "rejected");
      assert.equal(renders().filter(({ outcome }) => outcome === "success").length, 1);
    } finally {
      setGlobalDispatcher(usual);
      simulator.settings.ollamaSilentSeconds = 0;
    }
  });

  it("says at once that the key is refused", async () => {
    assert.equal((await failure(ask({}, { apiKey: "another key" }))).kind, "broken");
  });

  it("makes no call at all when it is given up before", async () => {
    assert.ok((await caught(ask({}, { signal: AbortSignal.abort() }))) instanceof ModelAborted);
    assert.deepEqual(renders(), []);
  });

  describe("with a server that behaves strangely", () => {
    let respond: (response: ServerResponse) => void;
    let closed: Promise<unknown> | undefined;
    const server = createServer((request, response) => {
      closed = once(response, "close");
      request.resume().once("end", () => respond(response));
    });
    const strange = () => ({ baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    const line = (value: object) => `${JSON.stringify(value)}\n`;

    before(async () => {
      await once(server.listen(0, "127.0.0.1"), "listening");
    });
    after(async () => {
      server.closeAllConnections();
      await once(server.close(), "close");
    });

    it("follows no redirect with its key", async () => {
      respond = (response) => response.writeHead(307, { location: `${node.baseUrl}/api/generate` }).end();
      assert.equal((await failure(ask({}, strange()))).kind, "transport");
      assert.deepEqual(renders(), []);
    });

    it("reads letters that arrive in pieces, empty lines, and a last line without an end", async () => {
      respond = async (response) => {
        const bytes = Buffer.from(`${line({ response: "Grüße" })}\n${JSON.stringify({ response: "!", done: true })}`);
        const inside = bytes.indexOf(0xc3) + 1;
        response.write(bytes.subarray(0, inside));
        await new Promise((resolve) => setImmediate(resolve));
        response.end(bytes.subarray(inside));
      };
      assert.equal(await ask({}, strange()), "Grüße!");
    });

    it("takes no offence at what it does not know", async () => {
      const lines = [
        { model: MODEL, thinking: "Hm.", response: "", done: false },
        { response: "Hello", context: [1], done: null },
        { response: null, tool_calls: [] },
        null,
        [],
        7,
        { response: "!", done: true, done_reason: "length", error: null },
      ];
      respond = (response) => response.end(lines.map((value) => `${JSON.stringify(value)}\n`).join(""));
      assert.equal(await ask({}, strange()), "Hello!");
    });

    for (const [what, error, told] of [
      ["text", "it broke", "the model failed: it broke"],
      ["an object", { message: "it broke", type: "api_error" }, "the model failed: it broke"],
      ["something else", { code: 5 }, 'the model failed: {"code":5}'],
    ] as const) {
      it(`reads an error in the middle of an answer that is ${what}`, async () => {
        respond = (response) => response.end(line({ response: "Hello" }) + line({ error }));
        const { kind, message } = await failure(ask({}, strange()));
        assert.deepEqual([kind, message], ["failed", told]);
        respond = (response) => response.writeHead(500).end(JSON.stringify({ error }));
        assert.equal((await failure(ask({}, strange()))).message, told);
      });
    }

    it("fails on a line that is not JSON", async () => {
      respond = (response) => response.end(`${line({ response: "Hello" })}and so on\n`);
      assert.equal((await failure(ask({}, strange()))).kind, "transport");
    });

    it("fails on a connection that breaks in the middle", async () => {
      respond = (response) => response.write(line({ response: "Hello" }), () => response.destroy());
      assert.equal((await failure(ask({}, strange()))).kind, "transport");
    });

    for (const [what, last] of [
      ["has answered", { response: ".", done: true }],
      ["has failed", { error: "out of memory" }],
    ] as const) {
      it(`lets go of a server that ${what} and keeps the connection open`, async () => {
        respond = (response) => response.write(line(last));
        const controller = new AbortController();
        await ask({}, { ...strange(), signal: controller.signal }).catch(() => undefined);
        await closed;
        // An error that nobody listens to would end the process.
        controller.abort();
        await new Promise((resolve) => setImmediate(resolve));
      });
    }
  });
});
