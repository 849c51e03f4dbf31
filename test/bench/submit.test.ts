import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { letGo, nextMessage } from "../../bench/children.ts";
import { startReceiver } from "../../bench/receiver.ts";
import { BenchError, createSubmit } from "../../bench/submit.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
const respond =
  (status: number, body: string, headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    response.writeHead(status, headers).end(body);

describe("the benchmarks, where an answer is not what they hope for", () => {
  /** Submits a job to a server that gives these answers, the last one again and again. */
  async function submitTo(patienceMs: number, ...answers: Answer[]) {
    const keys: unknown[] = [];
    const server = createServer((request, response) => {
      keys.push(request.headers["idempotency-key"]);
      (answers.length > 1 ? answers.shift() : answers[0])?.(request, response);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const said: string[] = [];
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const submissions = createSubmit(url, { say: (line) => said.push(line), patienceMs, pauseMs: 1 });
    try {
      const result = await submissions.submit({ text: "Hello." }).catch((error: unknown) => error);
      return { result, said, keys, refused: submissions.refused() };
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }

  it("go on after what passes, with the same key, and say once what came", async () => {
    const id = randomUUID();
    const busy: Answer = (request, response) => {
      const body = JSON.stringify({ error: "Too many", code: "queue_full", request_id: randomUUID() });
      respond(503, body, { "Retry-After": "0" })(request, response);
    };
    const gone: Answer = (request) => request.socket.destroy();
    const page = respond(502, "<h1>Bad Gateway</h1>");
    const { result, said, keys, refused } = await submitTo(
      30_000,
      busy,
      busy,
      gone,
      page,
      respond(200, JSON.stringify({ id })),
    );
    assert.equal(result, id);
    assert.deepEqual([refused, new Set(keys).size, keys.length], [4, 1, 5]);
    assert.equal(said.length, 3);
    assert.match(said[0] ?? "", /a submission was answered with 503 queue_full \(Too many\): it is tried again/);
    assert.match(said.join("\n"), /not answered \(.+\)[\s\S]*502 <h1>/);
  });

  for (const [name, answer, sentence] of [
    [
      "a bad request",
      respond(400, '{"error":"text: no"}'),
      /^A submission was answered with 400 \{"error":"text: no"\}\.$/,
    ],
    ["something else", respond(200, "<html>"), /^A submission was answered with 200 <html>\.$/],
    [
      "too many requests",
      respond(429, "later", { "Retry-After": "60" }),
      /^A submission was not taken within 0\.3 s: .* 429 later\.$/,
    ],
    ["nothing but 500", respond(500, "oh"), /^A submission was not taken within 0\.3 s: .* 500 oh\.$/],
  ] as const) {
    it(`end with a sentence at ${name}`, async () => {
      const { result } = await submitTo(300, answer);
      assert.ok(result instanceof BenchError);
      assert.match(result.message, sentence);
    });
  }

  it("do not wait for ever for a webhook, and know which jobs did not succeed", async () => {
    const receiver = await startReceiver();
    const impatient = await startReceiver(1);
    try {
      const tell = (body: string) => fetch(receiver.url, { method: "POST", body });
      const id = randomUUID();
      const arrival = receiver.untilReceived(id);
      assert.equal((await tell("no JSON")).status, 400);
      assert.equal((await tell(JSON.stringify({ id, status: "failed", error: "why" }))).status, 200);
      assert.equal(typeof (await arrival), "number");
      assert.deepEqual([...receiver.failures()], [["failed: why", 1]]);
      await assert.rejects(impatient.untilReceived(id), BenchError);
    } finally {
      await receiver.close();
      await impatient.close();
    }
  });

  it("notice that a process of theirs has ended", async () => {
    const child = spawn(process.execPath, ["-e", "process.exit(3)"], { stdio: ["ignore", "ignore", "ignore", "ipc"] });
    await assert.rejects(nextMessage(child, "The worker"), { message: "The worker ended (3) instead of answering." });
    await letGo(child);
  });
});
