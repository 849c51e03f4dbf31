import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createClient } from "../../src/sdk/index.ts";
import { eventually } from "../support/eventually.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

const FLOOD = 60;
const AT_ONCE_PER_TENANT = 12;
const TRIES = 5;
const keys = [
  { name: "greedy", key: "key-of-the-greedy-one" },
  { name: "honest", key: "key-of-the-honest-one" },
];

describe("inputs of several tenants", () => {
  let stack: TestStack;
  let refused = 0;
  /** Connections that are taken and never answered. */
  const silent = new Set<object>();
  let most = 0;
  const server = createServer((request, response) => {
    if (request.url?.startsWith("/busy")) {
      refused += 1;
      response.writeHead(503).end();
      return;
    }
    silent.add(response);
    most = Math.max(most, silent.size);
    response.once("close", () => silent.delete(response));
  });
  const origin = () => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clientOf = (index: number) => createClient({ baseUrl: stack.apiUrl, apiKey: keys[index]?.key ?? "" });

  before(async () => {
    await once(server.listen(0, "127.0.0.1"), "listening");
    stack = await startTestStack({ env: { C3_RENDER_KEYS: JSON.stringify(keys), TRUSTED_ORIGINS: origin() } });
  });
  after(async () => {
    await stack?.close();
    server.closeAllConnections();
    server.close();
  });

  it("keep nobody else's waiting, however many come to nothing", async function () {
    this.timeout(120_000);
    const [greedy, honest] = [clientOf(0), clientOf(1)];
    const flood = await Promise.all(
      Array.from({ length: FLOOD }, (_, index) => greedy.submit("whisper", { audio_url: `${origin()}/${index}.wav` })),
    );
    await eventually("as many are asked for as may be", () => silent.size === AT_ONCE_PER_TENANT || undefined);
    const id = await honest.submit("whisper", { audio_url: `${stack.simulator.url}/sim/files/voice.wav` });
    await eventually("the honest one has its input", async () =>
      (await stack.view(id)).stage !== "downloading" ? true : undefined,
    );
    assert.equal(silent.size, AT_ONCE_PER_TENANT, "while the others are still silent");
    assert.equal((await stack.untilState(id, "success")).attempts, 1);
    await Promise.all(flood.map((each) => greedy.cancel(each)));
    assert.equal(most, AT_ONCE_PER_TENANT);
    await eventually("nothing is asked for any more", () => silent.size === 0 || undefined);
  });

  it("are tried five times", async function () {
    this.timeout(120_000);
    const id = await clientOf(1).submit("whisper", { audio_url: `${origin()}/busy.wav` });
    assert.match((await stack.untilState(id, "failed")).error ?? "", /^audio_url: the server answered 503$/);
    assert.equal(refused, TRIES);
  });
});
