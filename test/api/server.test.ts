import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { Hono } from "hono";
import { generate } from "selfsigned";
import type { ApiEnv } from "../../src/api/context.ts";
import { listen } from "../../src/api/server.ts";
import { loadConfig } from "../../src/config/index.ts";
import { createLogger } from "../../src/process/log.ts";

const { api } = loadConfig({ PORT: "0" });
const log = createLogger("silent");

/** A server with one route that answers when `release` is called. */
async function slowServer() {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let arrived = () => {};
  const arrival = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const app = new Hono<ApiEnv>().get("/slow", async (c) => {
    arrived();
    await released;
    return c.text("done");
  });
  return { server: await listen(app, api, log), release, arrival };
}

describe("listen", () => {
  it("lets requests under way finish when it closes, and takes no more", async () => {
    const { server, release, arrival } = await slowServer();
    const answer = fetch(`${server.url}/slow`);
    await arrival;
    const closing = server.close(10_000);
    await assert.rejects(fetch(`${server.url}/slow`));
    release();
    assert.equal(await (await answer).text(), "done");
    const startedAt = performance.now();
    await closing;
    assert.ok(performance.now() - startedAt < 3000, "the connection was kept open");
  });

  it("does not wait for ever", async () => {
    const { server, arrival } = await slowServer();
    const answer = fetch(`${server.url}/slow`);
    await Promise.all([arrival, assert.rejects(answer), arrival.then(() => server.close(50))]);
  });

  it("does not wait for a connection that says nothing", async () => {
    const { server } = await slowServer();
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    await once(socket, "connect");
    await server.close(50);
    socket.destroy();
  });

  it("says which port is taken", async () => {
    const { server } = await slowServer();
    const port = Number(new URL(server.url).port);
    await assert.rejects(listen(new Hono<ApiEnv>(), { ...api, port }, log), new RegExp(`EADDRINUSE.*${port}`));
    await server.close(50);
  });

  it("speaks HTTPS with a certificate and its key", async () => {
    const { cert, private: key } = await generate([{ name: "commonName", value: "127.0.0.1" }]);
    const app = new Hono<ApiEnv>().get("/", (c) => c.text(new URL(c.req.url).protocol));
    const server = await listen(app, { ...api, tls: { cert, key } }, log);
    try {
      assert.match(server.url, /^https:/);
      const [response] = (await once(get(server.url, { rejectUnauthorized: false }), "response")) as [IncomingMessage];
      assert.equal(await text(response), "https:");
    } finally {
      await server.close(50);
    }
  });
});
