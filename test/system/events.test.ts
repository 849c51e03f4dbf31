import assert from "node:assert/strict";
import { startTestApi } from "../api/support.ts";
import { startTestStack, type TestStack } from "../support/stack.ts";

interface SentEvent {
  event: string;
  id: string | undefined;
  data: Record<string, unknown>;
}

describe("the events of a job", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({ gpu: { pools: { "media:fast": { max: 2 } } } });
  });
  after(() => stack.close());

  const follow = (id: string, { base = stack.apiUrl, lastId = "", signal = AbortSignal.timeout(30_000) } = {}) =>
    fetch(`${base}/jobs/${id}/events`, { signal, headers: lastId === "" ? {} : { "Last-Event-ID": lastId } });

  async function* eventsOf(response: Response): AsyncGenerator<SentEvent> {
    assert.equal(response.status, 200);
    assert.match(response.headers.get("Content-Type") ?? "", /^text\/event-stream/);
    let text = "";
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const fields = Object.fromEntries(
          text
            .slice(0, end)
            .split("\n")
            .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
        );
        text = text.slice(end + 2);
        if (fields.data !== undefined)
          yield { event: fields.event ?? "message", id: fields.id, data: JSON.parse(fields.data) };
      }
    }
  }

  async function allOf(response: Response): Promise<SentEvent[]> {
    const events: SentEvent[] = [];
    for await (const event of eventsOf(response)) events.push(event);
    return events;
  }

  const timelineOf = async (id: string) =>
    (await stack.get(`/jobs/${id}`)).body.timeline as { id: number; event: string; status: string }[];

  it("are its timeline, while it happens and afterwards, and then the stream ends", async () => {
    const id = await stack.submit();
    const live = await allOf(await follow(id));
    const timeline = await timelineOf(id);
    assert.deepEqual(
      live.filter(({ event }) => event === "status").map((event) => Number(event.id)),
      timeline.map((entry) => entry.id),
    );
    assert.deepEqual(live.at(-1), { event: "end", id: "end", data: { id, status: "success" } });
    assert.equal(live.at(-2)?.data.status, "success");
    assert.equal(live[0]?.data.status, "queued");
    assert.deepEqual(
      (await allOf(await follow(id))).map(({ event, id: eventId }) => [event, eventId]),
      live.filter(({ event }) => event !== "progress").map(({ event, id: eventId }) => [event, eventId]),
    );
    assert.equal((await follow(id, { lastId: "end" })).status, 204);
  });

  it("are resumed at another process after the last one that was seen", async () => {
    stack.simulator.settings.renderSeconds = 2;
    const id = await stack.submit();
    const seen: SentEvent[] = [];
    const leaving = new AbortController();
    for await (const event of eventsOf(await follow(id, { signal: leaving.signal }))) {
      seen.push(event);
      if (event.data.stage === "rendering") break;
    }
    leaving.abort();
    const other = await startTestApi({ client: stack.client });
    const lastId = seen.findLast((event) => event.id !== undefined)?.id ?? "";
    const rest = await allOf(await other.fetch(`/jobs/${id}/events`, { headers: { "Last-Event-ID": lastId } }));
    await other.close();
    stack.simulator.settings.renderSeconds = 0;
    const got = [...seen, ...rest].filter(({ event }) => event === "status").map((event) => Number(event.id));
    assert.deepEqual(
      got,
      (await timelineOf(id)).map((entry) => entry.id),
    );
    assert.equal(rest.at(-1)?.event, "end");
  });

  it("end when the API stops, and when the job is removed", async () => {
    stack.simulator.settings.renderSeconds = 5;
    const id = await stack.submit();
    const other = await startTestApi({ client: stack.client });
    const stopped = allOf(await other.fetch(`/jobs/${id}/events`));
    const removed = allOf(await follow(id));
    const startedAt = performance.now();
    await other.close();
    assert.ok(performance.now() - startedAt < 900, "the stream held the API up");
    assert.notEqual((await stopped).at(-1)?.event, "end");
    await fetch(`${stack.apiUrl}/jobs/${id}`, { method: "DELETE" });
    await removed;
    stack.simulator.settings.renderSeconds = 0;
  });

  it("of no job are not there", async () => {
    assert.equal((await follow("3f0c8a52-6c1e-4b5e-9a53-0b1f0a3c8d11")).status, 404);
    assert.equal((await follow("nonsense")).status, 400);
  });

  it("reach many readers of one job", async () => {
    stack.simulator.settings.renderSeconds = 1;
    const id = await stack.submit();
    const readers = await Promise.all(Array.from({ length: 30 }, async () => allOf(await follow(id))));
    assert.deepEqual([...new Set(readers.map((events) => events.at(-1)?.event))], ["end"]);
    stack.simulator.settings.renderSeconds = 0;
  });
});

describe("a submission that prefers to wait", () => {
  let stack: TestStack;
  before(async () => {
    stack = await startTestStack({ gpu: { pools: { "media:fast": { max: 2 } } } });
  });
  after(() => stack.close());

  const submit = async (wait: string, text = "Hello.", key?: string) => {
    const response = await fetch(`${stack.apiUrl}/csm`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        ...(wait !== "" && { Prefer: wait }),
        ...(key !== undefined && { "Idempotency-Key": key }),
      },
      body: JSON.stringify({ text, metadata: { order: 7 } }),
    });
    assert.equal(response.status, 200);
    const body = (await response.json()) as Record<string, unknown>;
    return { body, applied: response.headers.get("Preference-Applied") };
  };

  it("is answered with the document of the job when it has ended", async () => {
    const { body, applied } = await submit("respond-async, wait=100");
    assert.equal(applied, "wait=60");
    assert.equal(body.status, "success");
    assert.match((body.result as { result_url: string }).result_url, /^http/);
    const { result: _link, files: _links, ...document } = (await stack.get(`/jobs/${body.id}`)).body;
    const { result, files, ...answered } = body;
    assert.deepEqual(answered, { ...document, cost: answered.cost, gpu: answered.gpu });
    assert.deepEqual(body.metadata, { order: 7 });
    assert.ok(result && files);
  });

  it("is answered with the document as it is when the time is over", async () => {
    stack.simulator.settings.renderSeconds = 3;
    const { body, applied } = await submit("wait=1");
    assert.equal(applied, "wait=1");
    assert.equal(body.status, "running");
    stack.simulator.settings.renderSeconds = 0;
    await stack.untilState(String(body.id), "success");
  });

  it("may be many submissions of one job", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => submit("wait=30", "Hello.", "one-key")));
    assert.deepEqual([...new Set(answers.map(({ body }) => body.status))], ["success"]);
    assert.equal(new Set(answers.map(({ body }) => body.id)).size, 1);
  });

  for (const preference of ["", "wait=0", "wait=soon", "return=minimal"]) {
    it(`is answered at once when it says "${preference}"`, async () => {
      const { body, applied } = await submit(preference);
      assert.equal(applied, null);
      assert.deepEqual(body, { id: body.id, status: "queued" });
      await stack.untilState(String(body.id), "success");
    });
  }
});
