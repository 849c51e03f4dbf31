import assert from "node:assert/strict";
import { callGradio } from "../../src/clients/gradio.ts";
import { eventually } from "../support/eventually.ts";
import type { GradioSettings } from "../support/gradioNode.ts";
import { JOB_TIMEOUT_MS, NODE_KEY, type Service, type Version } from "./service.ts";

const MAX_SENTENCE = 300;
const manyLines = Array.from(
  { length: 100 },
  (_, line) => `line ${line} of a trace that nobody wants to read whole`,
).join("\n");

/** What goes wrong on real nodes, and what it comes to. */
export function trouble(service: () => Service, { small, runsCancelled = false }: Version): void {
  const node = () => service().node;
  const runs = () => node().runs();
  const speak = (text = "Whatever happens.") => service().submit("/csm", { text, voice: "conversational_a" });
  const transcribe = async () => service().submit("/whisper", { audio_url: await service().recording(5) });
  const untilRunning = (count = 1) => eventually("it runs", async () => (await runs()).length >= count);
  const joins = async (status: number) =>
    (await node().requests()).filter((request) => request.path.endsWith("/queue/join") && request.status === status);

  /** The job fails with that sentence, and the node goes on as if nothing had been. */
  async function saysNo(submit: () => Promise<string>, settings: Partial<GradioSettings>, sentence: RegExp) {
    await service().succeeded(await speak("The node is well."));
    const before = await service().gpuIds();
    const runsBefore = (await runs()).length;
    await node().set(settings);
    const error = await service().failed(await submit());
    assert.match(error, sentence);
    assert.ok(error.length <= MAX_SENTENCE + 50 && !error.includes("\n"), error);
    assert.equal((await runs()).length, runsBefore + 1, "it is not tried again");
    await node().set({ fail: null, result: "mp3" });
    await service().succeeded(await speak("The node is still well."));
    assert.deepEqual(await service().gpuIds(), before, "the node was given up");
  }

  it("an error that the speech application tells fails the job, not the node", () =>
    saysNo(speak, { fail: { how: "gr.Error", message: "the monologue is empty" } }, /the monologue is empty$/));

  if (small) return;

  it("an error of a hundred lines is one line of at most 300 characters for the caller", () =>
    saysNo(speak, { fail: { how: "gr.Error", message: manyLines } }, /line 0 of a trace/));

  it("an error that the transcription application tells as its transcript fails the job, not the node", () =>
    saysNo(transcribe, { fail: { how: "text", message: "the sound is empty" } }, /the sound is empty$/));

  it("an error that the transcription application raises fails the job, not the node", () =>
    saysNo(transcribe, { fail: { how: "gr.Error", message: "no such model" } }, /no such model$/));

  it("a run that ends without a file fails the job, not the node", () =>
    saysNo(speak, { result: "none" }, /without a file/));

  it("an exception of the application is a failure without its text", async () => {
    await node().set({ fail: { how: "exception", message: "a secret of the application" } });
    const error = await service().failed(await speak());
    assert.doesNotMatch(error, /secret/);
    await node().set({ fail: null });
    await service().succeeded(await speak("The next one."));
  });

  it("an application that does not know its path, because a proxy cuts that off, can be called all the same", async () => {
    const { values, fileUrl } = await callGradio({
      appUrl: `${node().url}/behind-proxy/csm/`,
      apiKey: NODE_KEY,
      endpoint: "/generate_monologue_audio",
      arguments: () => ({ parameters: { speaker_text: "", speaker_audio: null, monologue_json: '["Hello."]' } }),
      signal: AbortSignal.timeout(JOB_TIMEOUT_MS),
      settleMs: 1000,
    });
    const [{ path }] = values as [{ path: string }];
    const answer = await fetch(fileUrl(path), { headers: { "X-C3-API-KEY": NODE_KEY } });
    assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "audio/mpeg"]);
    await answer.body?.cancel();
  });

  it("the wrong kind of file, the same one each time, is told at once", async () => {
    await node().set({ result: "wav" });
    await service().failed(await speak());
    assert.ok((await runs()).length <= 2, "a model is run once more at most");
  });

  it("a file that the node does not give away, which is a 403, is told at once", async () => {
    await node().set({ refuse: { contains: "file=", status: 403, times: 1000 } });
    await service().failed(await speak());
    assert.ok((await runs()).length <= 2, "a model is run once more at most");
  });

  for (const name of ["part #1", "what?", "50 % übrig", "x&y=1+2", "日本語"]) {
    it(`files named "${name}" arrive`, async () => {
      await node().set({ file_name: name });
      await service().succeeded(await speak());
      const { files } = await service().succeeded(await transcribe());
      assert.equal(files.length, 5);
    });
  }

  it("a result of 60 MB arrives whole", async () => {
    await node().set({ result_bytes: 60_000_000 });
    const { files } = await service().succeeded(await speak());
    assert.ok((files[0]?.bytes ?? 0) >= 60_000_000, JSON.stringify(files));
  });

  it("a page of the proxy instead of an answer is passed over", async () => {
    await node().set({ refuse: { contains: "queue/join", status: 502, times: 1 } });
    const { attempts } = await service().succeeded(await speak());
    assert.equal(attempts ?? 1, 1);
    assert.equal((await runs()).length, 1);
  });

  it("a slow run is waited for, and two jobs never share the model", async () => {
    await node().set({ hold: true });
    const ids = [await speak("One."), await speak("Two.")];
    await untilRunning();
    await node().set({ hold: false });
    for (const id of ids) await service().succeeded(id);
    const [first, second] = await runs();
    assert.ok((second?.startedAt ?? 0) >= (first?.finishedAt ?? Number.POSITIVE_INFINITY));
  });

  it("a full queue is waited for, with the node", async () => {
    await node().set({ hold: true, queue_size: 1 });
    await join(node().url, 1);
    await untilRunning();
    await join(node().url, 2);
    const id = await speak();
    await eventually("the node says that its queue is full", async () => (await joins(503)).length > 0);
    assert.notEqual((await service().document(id)).status, "failed");
    await node().set({ hold: false });
    const { attempts } = await service().succeeded(id);
    assert.equal(attempts ?? 1, 1);
  });

  const fate = runsCancelled ? "is over all the same" : "never runs";
  it(`a job that is cancelled while others are before it on the node ${fate}`, async () => {
    await node().set({ hold: true });
    await join(node().url, 1);
    await untilRunning();
    const id = await speak("Never spoken.");
    await eventually("it is in the node's queue", async () => (await joins(200)).length >= 2);
    await service().cancel(id);
    await service().untilClosed(id);
    await node().set({ hold: false });
    await service().succeeded(await speak("The next one."));
    const said = (await runs()).flatMap(({ items }) => items.map(({ text }) => text));
    assert.equal(said.includes("Never spoken."), runsCancelled, said.join());
  });

  for (const [what, submit] of [
    ["speaks", () => speak()],
    ["transcribes", transcribe],
  ] as const) {
    it(`a job that is cancelled while the node ${what} is over at once, and the next one waits for its run to end`, async () => {
      await node().set({ hold: true });
      const id = await submit();
      await untilRunning();
      await service().cancel(id);
      assert.equal((await service().get(`/status/${id}`)).status, "cancelled");
      const next = await submit();
      await eventually("the next one waits", async () => (await service().view(next)).stage === "waiting");
      assert.equal((await runs()).length, 1);
      await node().set({ hold: false });
      await service().succeeded(next);
      const [cancelled, following] = await runs();
      assert.ok(
        (following?.startedAt ?? 0) >= (cancelled?.finishedAt ?? Number.POSITIVE_INFINITY),
        "they shared the GPU",
      );
      await service().untilClosed(id);
    });
  }

  it("a stream that is cut in mid-run: the job runs again, after the run that nobody listens to", async () => {
    await node().set({ hold: true });
    const id = await speak();
    await untilRunning();
    assert.ok((await node().dropStreams()) > 0);
    await eventually("it is asked for again", async () => (await joins(200)).length >= 2);
    await node().set({ hold: false });
    const { attempts } = await service().succeeded(id);
    assert.equal(attempts ?? 1, 1);
    assert.equal((await runs()).length, 2);
  });

  it("a node that refuses the key is told as that", async () => {
    await node().set({ key: "another key" });
    const id = await speak();
    await eventually(
      "somebody says that it is the key",
      async () => {
        const { error } = await service().document(id);
        const { gpus } = await service().get("/gpus");
        const pools = await service().get("/pools");
        return /\bkey\b/.test(`${error} ${JSON.stringify(gpus)} ${JSON.stringify(pools)}`);
      },
      JOB_TIMEOUT_MS,
    );
    await node().set({ key: NODE_KEY });
    await service()
      .cancel(id)
      .catch(() => undefined);
    await service().succeeded(await speak("With the right key."));
  });

  it("a node whose applications restart in mid-run: the job runs again", async function () {
    this.timeout(2 * JOB_TIMEOUT_MS);
    await node().set({ hold: true });
    const id = await speak();
    await untilRunning();
    await node().restart();
    await service().succeeded(id);
    assert.ok((await runs()).length >= 1);
  });
}

/** A call that nobody listens to: it waits, and runs, all the same. */
async function join(nodeUrl: string, number: number): Promise<void> {
  const headers = { "Content-Type": "application/json", "X-C3-API-KEY": NODE_KEY };
  const config = (await (await fetch(`${nodeUrl}/csm/config`, { headers })).json()) as {
    dependencies: { id: number; api_name: string }[];
  };
  const fn = config.dependencies.find(({ api_name }) => api_name === "generate_monologue_audio");
  const data = ["random_voice", "", null, `["Somebody else, ${number}."]`, 0.9, 50, 10_000, 150];
  const body = JSON.stringify({ data, fn_index: fn?.id, session_hash: `somebody-${number}` });
  const answer = await fetch(`${nodeUrl}/csm/gradio_api/queue/join`, { method: "POST", headers, body });
  assert.equal(answer.status, 200, await answer.clone().text());
  await answer.body?.cancel();
}
