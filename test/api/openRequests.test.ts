import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import type { Client } from "@temporalio/client";
import { Hono } from "hono";
import type { ApiEnv } from "../../src/api/context.ts";
import { eventRoutes } from "../../src/api/routes/events.ts";
import { listen } from "../../src/api/server.ts";
import { loadConfig } from "../../src/config/index.ts";
import { createLogger } from "../../src/process/log.ts";
import { eventually } from "../support/eventually.ts";
import { connectTestClient, startTestApi, type TestApi } from "./support.ts";

const LIMIT = 20;
const hostile = { "X-C3-RENDER-KEY": "key-of-the-hostile-one" };
const slow = { "X-C3-RENDER-KEY": "key-of-the-slow-one" };
const honest = { "X-C3-RENDER-KEY": "key-of-the-honest-one" };
const keys = [
  { name: "hostile", key: hostile["X-C3-RENDER-KEY"] },
  { name: "slow", key: slow["X-C3-RENDER-KEY"] },
  { name: "honest", key: honest["X-C3-RENDER-KEY"] },
];

describe("requests that stay open", () => {
  let client: Client;
  let api: TestApi;
  let sockets: Socket[] = [];
  before(async () => {
    ({ client } = await connectTestClient());
    const env = {
      C3_RENDER_API_KEY: "",
      C3_RENDER_KEYS: JSON.stringify(keys),
      MAX_OPEN_REQUESTS: String(LIMIT),
      BODY_TIMEOUT: "5",
    };
    api = await startTestApi({ client, env });
  });
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
  });
  after(async () => {
    await api.close();
    await client.connection.close();
  });

  const submit = (headers: Record<string, string>, init: RequestInit = {}) =>
    fetch(`${api.url}/csm`, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body: JSON.stringify({ text: "Hello." }),
      ...init,
    });
  const idOf = async (response: Response) => ((await response.json()) as { id: string }).id;
  const list = (headers: Record<string, string>) => fetch(`${api.url}/jobs`, { headers });
  const isServed = (headers: Record<string, string>) =>
    eventually("there is room again", async () => {
      const response = await list(headers);
      await response.arrayBuffer();
      return response.status === 200;
    });

  /** Sends the head of a request, and one byte of its body. */
  async function halfSent(headers: Record<string, string>): Promise<Socket> {
    const { port, host } = new URL(api.url);
    const socket = connect(Number(port), "127.0.0.1");
    sockets.push(socket);
    socket.on("error", () => {});
    await once(socket, "connect");
    const lines = { Host: host, "Content-Type": "application/json", "Content-Length": "1000", ...headers };
    const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
    socket.write(`POST /csm HTTP/1.1\r\n${head.join("")}\r\n{`);
    return socket;
  }

  async function assertRefused(response: Response): Promise<void> {
    const { code } = (await response.json()) as { code: string };
    assert.deepEqual([response.status, code], [429, "too_many_open_requests"]);
    assert.ok(Number(response.headers.get("Retry-After")) > 0);
  }

  it("a thousand streams of one tenant: it has its share of them, another tenant's stream opens, and places come back", async () => {
    const [mine, theirs] = await Promise.all([idOf(await submit(hostile)), idOf(await submit(honest))]);
    const leaving = new AbortController();
    const open = () => fetch(`${api.url}/jobs/${mine}/events`, { headers: hostile, signal: leaving.signal });
    const streams = await Promise.all(Array.from({ length: 1000 }, open));
    const refused = streams.filter(({ status }) => status !== 200);
    assert.equal(refused.length, 1000 - LIMIT);
    const [first] = refused;
    await assertRefused(first!);
    await assertRefused(await submit(hostile, { headers: { ...hostile, Prefer: "wait=10" } }));

    const stream = await fetch(`${api.url}/jobs/${theirs}/events`, { headers: honest });
    assert.equal(stream.status, 200);
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
    assert.match((await reader.read()).value ?? "", /event: status/);
    await reader.cancel();

    leaving.abort();
    await isServed(hostile);
  });

  it("bodies that are never sent whole: others are taken meanwhile, and each is told that it came too slowly", async () => {
    const halves: Socket[] = [];
    await eventually("all places are taken", async () => {
      const response = await list(slow);
      if (response.status !== 200) return await assertRefused(response).then(() => true);
      await response.arrayBuffer();
      halves.push(await halfSent(slow));
      return undefined;
    });
    assert.ok(halves.length >= LIMIT);
    assert.equal((await submit(honest)).status, 200);
    const late = (await Promise.all(halves.map((half) => text(half)))).filter((said) => said.includes(" 408 "));
    assert.ok(late.length >= LIMIT);
    assert.ok(late.every((said) => said.includes('"code":"body_too_slow"')));
    await isServed(slow);
  });

  it("a body that drips does not come sooner by it", async () => {
    const socket = await halfSent(honest);
    const drip = setInterval(() => socket.write(" "), 100);
    try {
      assert.match(await text(socket), /^HTTP\/1\.1 408 /);
    } finally {
      clearInterval(drip);
    }
  });

  it("a body with a wrong key is refused unread, and takes nobody's place", async () => {
    const wrong = { "X-C3-RENDER-KEY": "key-of-nobody-at-all" };
    const answers = await Promise.all(Array.from({ length: LIMIT }, () => halfSent(wrong)));
    await isServed(hostile);
    for (const answer of answers) {
      const [said] = (await once(answer, "data")) as [Buffer];
      assert.match(String(said), /^HTTP\/1\.1 (401|429) /);
    }
  });

  it("a stream that is only asked for with HEAD is not begun: nobody would read it to its end", async () => {
    let watched = 0;
    const jobs = { read: async () => ({}) } as unknown as Parameters<typeof eventRoutes>[1];
    const watch: Parameters<typeof eventRoutes>[2] = async function* () {
      watched += 1;
      yield* [];
    };
    const deps = { log: createLogger("silent") } as Parameters<typeof eventRoutes>[0];
    const routes = new Hono<ApiEnv>()
      .use(async (c, next) => {
        c.set("caller", { tenant: "honest", admin: false });
        await next();
      })
      .route("/", eventRoutes(deps, jobs, watch));
    const ask = (method: string) => routes.request("/jobs/3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11/events", { method });
    const { status, headers } = await ask("HEAD");
    assert.deepEqual([status, headers.get("Content-Type"), watched], [200, "text/event-stream", 0]);
    await (await ask("GET")).text();
    assert.equal(watched, 1);
  });

  it("a place is given back by whoever leaves before an answer", async () => {
    const gone = await Promise.all(Array.from({ length: LIMIT }, () => halfSent(honest)));
    for (const socket of gone) socket.destroy();
    await isServed(honest);
  });
});

describe("a connection that is too slow", () => {
  const { api } = loadConfig({ PORT: "0" });
  const pace = { headersMs: 300, silentMs: 500, lookMs: 50 };

  async function talk<T>(say: (socket: Socket, answerIsOver: () => boolean) => Promise<T>): Promise<T> {
    let isOver = false;
    const app = new Hono<ApiEnv>().get("/endless", (c) => {
      const pull = (controller: ReadableStreamDefaultController) => controller.enqueue(Buffer.alloc(65_536));
      const cancel = () => {
        isOver = true;
      };
      return c.body(new ReadableStream({ pull, cancel }));
    });
    const server = await listen(app, api, createLogger("silent"), pace);
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    try {
      socket.on("error", () => {});
      await once(socket, "connect");
      return await say(socket, () => isOver);
    } finally {
      socket.destroy();
      await server.close(50);
    }
  }

  it("with its headers is closed", async () => {
    const said = await talk(async (socket) => {
      socket.write("GET / HTTP/1.1\r\nHost: a\r\n");
      const drip = setInterval(() => socket.write("X-Slow: 1\r\n"), 50);
      return await text(socket).finally(() => clearInterval(drip));
    });
    assert.match(said, /^HTTP\/1\.1 408 /);
  });

  it("with its first line is closed", async () => {
    const said = await talk(async (socket) => {
      socket.write("GE");
      return await text(socket);
    });
    assert.match(said, /^HTTP\/1\.1 408 /);
  });

  it("in taking its answer is closed", async () => {
    await talk(async (socket, answerIsOver) => {
      socket.write("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
      socket.pause();
      await eventually("the server gives it up", answerIsOver);
    });
  });
});
