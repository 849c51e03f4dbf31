import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ModelAborted, ModelFailure } from "../../src/clients/modelCall.ts";
import { generate, ModelMissing, type OllamaNode, pull } from "../../src/clients/ollama.ts";
import { freePort } from "../../src/dev/temporalServer.ts";
import { eventually } from "../support/eventually.ts";
import { ollamaExecutable } from "../support/programs.ts";

const PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/** It has no model, so these are the ways in which it says no. */
describe("a real Ollama", () => {
  let folder: string;
  let server: ChildProcess | undefined;
  let node: OllamaNode;

  before(async function () {
    const executable = await ollamaExecutable();
    if (executable === undefined) this.skip();
    folder = await mkdtemp(join(tmpdir(), "c3-render-ollama-"));
    const host = `127.0.0.1:${await freePort(0, "Ollama", () => {})}`;
    const env = { PATH: process.env.PATH, HOME: folder, OLLAMA_HOST: host, OLLAMA_MODELS: join(folder, "models") };
    server = spawn(executable, ["serve"], { env, stdio: "ignore" });
    node = { baseUrl: `http://${host}`, apiKey: "a key", signal: new AbortController().signal };
    await eventually("Ollama answers", () => fetch(`${node.baseUrl}/api/tags`).catch(() => undefined));
  });
  after(async () => {
    if (server === undefined) return;
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  });

  const ask = (image = PIXEL, at: Partial<OllamaNode> = {}) =>
    generate({ ...node, ...at }, { model: "llama3.2-vision:11b", prompt: "What is this?", image, onText: () => {} });
  const failureOf = (work: Promise<unknown>) =>
    work.then(
      (value) => assert.fail(`it came to ${JSON.stringify(value)}`),
      (error: unknown) => error,
    );

  it("says that it does not have the model", async () => {
    const error = await failureOf(ask());
    assert.ok(error instanceof ModelMissing, String(error));
    assert.match(error.message, /llama3\.2-vision:11b/);
  });

  it("refuses a picture that is none: asking again would not help", async () => {
    const error = await failureOf(ask("%%%"));
    assert.ok(error instanceof ModelFailure, String(error));
    assert.deepEqual([error.kind, /base64/.test(error.message)], ["refused", true]);
  });

  it("says in its answer to a pull that there is no such model", async () => {
    // A registry that there is not: nothing leaves this machine.
    const error = await failureOf(pull(node, "127.0.0.1:9/nothing/there", () => {}));
    assert.ok(error instanceof ModelFailure, String(error));
    assert.ok(!error.message.includes("\n"), error.message);
  });

  it("is given up at once by a signal", async () => {
    const error = await failureOf(ask(PIXEL, { signal: AbortSignal.abort() }));
    assert.ok(error instanceof ModelAborted, String(error));
  });

  it("is a matter of the connection when it is not there", async () => {
    const baseUrl = `http://127.0.0.1:${await freePort(0, "nobody", () => {})}`;
    const error = await failureOf(ask(PIXEL, { baseUrl }));
    assert.ok(error instanceof ModelFailure && error.kind === "transport", String(error));
  });
});
